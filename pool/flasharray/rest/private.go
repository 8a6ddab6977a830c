package rest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const maxPrivateBytes = 256 << 10

// errNotPrivate: others could have read or written it.
var errNotPrivate = errors.New("others have access to it")

// privateDir makes the folder of path, or checks that nobody else can put files
// into it.
func privateDir(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the session: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at the folder of the session: %w", err)
	}
	if !info.IsDir() || !mine(info) || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("the session is not put into %s: it must be a folder of this user that nobody else can write: %w", dir, errNotPrivate)
	}
	return nil
}

func mine(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
}

// readPrivate reads a file that only this user, or root, can read and write.
// What is looked at is what is read; a link is not followed.
func readPrivate(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || !mine(info) || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read %s (mode %04o): %w", path, info.Mode().Perm(), errNotPrivate)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPrivateBytes+1))
	if err == nil && len(data) > maxPrivateBytes {
		err = fmt.Errorf("read %s: it is too long", path)
	}
	return data, err
}

// writePrivate replaces a file as a whole. It need not survive a loss of power:
// its folder does not.
func writePrivate(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600, and nobody's link
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func removePrivate(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
