package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/volbridge/volbridge/internal/lockfile"
	"github.com/volbridge/volbridge/pool"
)

// Editor changes the configuration while other commands may do so too.
type Editor struct {
	Path    string
	Drivers []pool.Driver

	// Step is called before each step that a power cut may fall before; of tests.
	Step func(name string)
}

// Current is the file as it is: "" and mode 0600 where there is none.
func (e Editor) Current() (text []byte, perm fs.FileMode, err error) {
	text, perm, err = readFile(e.Path)
	if errors.Is(err, ErrNoConfig) {
		return nil, 0o600, nil
	}
	return text, perm, err
}

// Edit replaces the file's text by what change makes of it. Two edits come one
// after the other, and a power cut leaves the old file or the new one. What
// change returns must be a configuration without mistakes. Mode, owner and a
// symbolic link stay as they are.
func (e Editor) Edit(ctx context.Context, change func(old []byte) ([]byte, error)) error {
	path, err := realPath(e.Path)
	if err != nil {
		return err
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make the folder of the configuration: %w", err)
	}
	unlock, err := lockfile.Folder(ctx, folder)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("another command edits the configuration in %s: %w", folder, err)
	case err != nil:
		return err
	}
	defer unlock()
	old, perm, err := e.Current()
	if err != nil {
		return err
	}
	text, err := change(old)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", e.Path, err)
	}
	if bytes.Equal(old, text) {
		return nil
	}
	if _, err := Parse(e.Path, text, perm, e.Drivers); err != nil {
		return fmt.Errorf("the file was not changed, because it would have mistakes: %w", err)
	}
	if err := e.replace(path, text, perm); err != nil {
		return fmt.Errorf("write configuration %s: %w", e.Path, err)
	}
	return nil
}

// realPath follows the links of a file that is there: the file is replaced, not
// the link to it.
func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return "", fmt.Errorf("configuration %s is a link to what is not there: remove the link, or make its target", path)
		}
		return filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("configuration %s: %w", path, err)
	}
	return filepath.Abs(real)
}

// replace writes a file beside the other and puts it in its place.
func (e Editor) replace(path string, text []byte, perm fs.FileMode) (err error) {
	folder, name := filepath.Split(path)
	fresh := filepath.Join(folder, "."+name+".new") // its name is free: we have the lock
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	e.at("create")
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(fresh))
		}
	}()
	if err := e.fill(f, path, text, perm); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	e.at("rename")
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	e.at("sync folder")
	return SyncFolder(folder)
}

// fill gives a new file the text, and mode and owner of the old one.
func (e Editor) fill(f *os.File, old string, text []byte, perm fs.FileMode) error {
	info, err := os.Stat(old)
	if err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			err = f.Chown(int(owner.Uid), int(owner.Gid))
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	if err := f.Chmod(perm); err != nil {
		return err
	}
	e.at("write")
	if _, err := f.Write(text); err != nil {
		return err
	}
	e.at("sync")
	return f.Sync()
}

// WriteSecret writes a file that must not be there yet, for root alone. It is for
// what Edit's change does beside the text: Edit's lock keeps others away. A power
// cut leaves the whole file or none of its name; an error leaves none. A file that
// is there gives fs.ErrExist.
func (e Editor) WriteSecret(path string, text []byte) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	// Whoever wrote these is dead: we have the lock.
	for _, left := range unfinished(folder) {
		if err := os.Remove(left); err != nil {
			return err
		}
	}
	fresh := filepath.Join(folder, "."+filepath.Base(path)+".new")
	err := e.writeFresh(fresh, text)
	if err == nil {
		e.at("name secret")
		err = os.Link(fresh, path) // which replaces nothing
	}
	named := err == nil
	e.at("tidy secret")
	if gone := os.Remove(fresh); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	if err == nil {
		e.at("sync secret's folder")
		err = errors.Join(SyncFolder(folder), SyncFolder(filepath.Dir(folder)))
	}
	if err != nil && named {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func (e Editor) writeFresh(path string, text []byte) error {
	e.at("create secret")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	e.at("write secret")
	_, err = f.Write(text)
	e.at("sync secret")
	return errors.Join(err, f.Sync(), f.Close())
}

// unfinished are the files in a folder that an edit which was killed has left.
func unfinished(folder string) (files []string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil // there are none, or the next step says why
	}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".new") && entry.Type().IsRegular() {
			files = append(files, filepath.Join(folder, name))
		}
	}
	return files
}

func (e Editor) at(step string) {
	if e.Step != nil {
		e.Step(step)
	}
}

// SyncFolder waits until the names in a folder are on the disk.
func SyncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
