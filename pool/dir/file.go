package dir

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/pool"
)

// tempPrefix begins the names of files that are not complete yet.
const tempPrefix = ".new-"

// maxJSONBytes bounds what is read of a file that others can write.
const maxJSONBytes = 1 << 20

// readJSON reads a file of ours, strictly: what we cannot wholly understand
// may say something that matters.
func readJSON(root *os.Root, name string, v any) error {
	data, err := readRegular(root, name)
	if err != nil {
		return explain(err)
	}
	path := filepath.Join(root.Name(), name)
	var head struct{ Format int }
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	if head.Format != format {
		return fmt.Errorf("%s has format %d, but this volbridge knows only %d: update volbridge on this host", path, head.Format, format)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}

func readRegular(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file (mode %s)", filepath.Join(root.Name(), name), info.Mode())
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxJSONBytes))
}

// writeJSON puts a whole file in place, or none, and returns when a power cut
// can no longer undo it.
func writeJSON(root *os.Root, name string, v any) error {
	return placeJSON(root, name, v, root.Rename)
}

// linkJSON is writeJSON for a file that must not exist: else fs.ErrExist.
func linkJSON(root *os.Root, name string, v any) error {
	return placeJSON(root, name, v, func(temp, name string) error {
		return errors.Join(root.Link(temp, name), root.Remove(temp))
	})
}

func placeJSON(root *os.Root, name string, v any, place func(temp, name string) error) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	temp := tempPrefix + rand.Text()
	if err := writeNew(root, temp, append(data, '\n')); err != nil {
		return err
	}
	if err := place(temp, name); err != nil {
		return errors.Join(err, ignoreGone(root.Remove(temp)))
	}
	return syncDir(root)
}

func writeNew(root *os.Root, name string, data []byte) error {
	return makeFile(root, name, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// makeFile makes a file, fills it, and brings it to the disk; after an error
// the file is gone.
func makeFile(root *os.Root, name string, fill func(*os.File) error) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, ignoreGone(root.Remove(name)))
	}
	return nil
}

// syncDir makes the names in a directory outlive a power cut.
func syncDir(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// list returns the names in a directory, sorted. It opens the directory anew:
// on NFS that is what makes the client ask the server.
func list(root *os.Root) ([]string, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, explain(err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, explain(err)
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// explain adds to an error of the file system what a person can do about it.
func explain(err error) error {
	for _, e := range []struct {
		is   error
		hint string
	}{
		{unix.EROFS, "the file system is read-only: mount or export it read-write"},
		{unix.ESTALE, "the file server has forgotten the directory: unmount it and mount it again"},
		{fs.ErrPermission, "volbridge runs as root: does the file server map root to nobody (root_squash)?"},
		{unix.EFBIG, "the file system cannot hold a file of that size"},
		{unix.EDQUOT, "the quota is used up"},
		{unix.ENOSPC, "the file system is full"},
	} {
		if errors.Is(err, e.is) {
			return classify(fmt.Errorf("%w (%s)", err, e.hint))
		}
	}
	return err
}

func classify(err error) error {
	for _, full := range []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		if errors.Is(err, full) && !errors.Is(err, pool.ErrNoSpace) {
			return fmt.Errorf("%w: %w", pool.ErrNoSpace, err)
		}
	}
	return err
}
