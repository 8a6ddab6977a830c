package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// WaitPath returns once path leads to something. Folders on the way may be
// missing at first, and links may dangle; nothing is polled. When ctx ends the
// error says how long it waited, and for what.
func WaitPath(ctx context.Context, path string) error {
	if _, there, err := trail(path); there || err != nil {
		return err
	}
	started := time.Now()
	w, err := newWatcher()
	if err != nil {
		return fmt.Errorf("wait for %s: %w", path, err)
	}
	defer w.close()
	for {
		missing, err := watchTrail(w, path)
		if err != nil {
			return fmt.Errorf("wait for %s: %w", path, err)
		}
		if missing == "" {
			return nil
		}
		if err := w.next(ctx); err != nil {
			return fmt.Errorf("waited %s for %s, but there is no %s: %w",
				time.Since(started).Round(time.Millisecond), path, missing, err)
		}
	}
}

// WaitNode is WaitPath for a block device, which it insists on.
func WaitNode(ctx context.Context, path string) error {
	if err := WaitPath(ctx, path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("wait for %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeDevice {
		return fmt.Errorf("wait for %s: it is no block device (mode %s)", path, info.Mode())
	}
	return nil
}

// watchTrail watches every folder on the way to path, and only then looks: so
// whatever comes later makes an event. It returns what is missing.
func watchTrail(w *watcher, path string) (missing string, err error) {
	var watched string
	for {
		folders, there, err := trail(path)
		if there || err != nil {
			return "", err
		}
		if now := strings.Join(folders, "\x00"); now == watched {
			return folders[len(folders)-1], nil
		} else {
			watched = now
		}
		for _, folder := range folders[:len(folders)-1] {
			err := w.add(folder, appearing)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
		}
	}
}

// trail walks to path as the kernel does, following links, and returns the
// folders it looked into; if the walk ends early, what was missing is the last
// element.
func trail(path string) (folders []string, there bool, err error) {
	const maxLinks = 40 // the kernel's limit
	at, rest, links := "/", parts(path), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		folders = append(folders, at)
		info, err := os.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return append(folders, next), false, nil
		case err != nil:
			return nil, false, err
		case info.Mode().Type() != fs.ModeSymlink:
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, false, fmt.Errorf("%s: too many links", path)
		}
		target, err := os.Readlink(next)
		if errors.Is(err, fs.ErrNotExist) {
			return append(folders, next), false, nil // it has just gone
		}
		if err != nil {
			return nil, false, err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(parts(target), rest...)
	}
	return folders, true, nil
}

func parts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
