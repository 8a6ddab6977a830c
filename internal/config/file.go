package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxBytes is far more than any configuration has.
const maxBytes = 1 << 20

// readFile returns the content and the permission bits. The file that is
// looked at is the one that is read, whatever its name leads to meanwhile.
func readFile(path string) (data []byte, perm fs.FileMode, err error) {
	// Not to hang where somebody has put a named pipe.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%w: %s does not exist: write one, with lines such as these, or name another with --config\n"+
			"  [pool.fast]\n  type = \"dir\"\n  path = \"/srv/volbridge\"\n"+
			"'volbridge pool --help' lists all keys", ErrNoConfig, path)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("read configuration: %w", err)
	}
	if err := trusted(path, info); err != nil {
		return nil, 0, err
	}
	data, err = io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read configuration %s: %w", path, err)
	}
	if len(data) > maxBytes {
		return nil, 0, fmt.Errorf("read configuration %s: larger than %d bytes: it cannot be one of volbridge", path, maxBytes)
	}
	return data, info.Mode().Perm(), nil
}

// trusted refuses what another user could have written: volbridge runs as root
// and does what the file says.
func trusted(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file", ErrRefused, path)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%w: the owner of %s is not known", ErrRefused, path)
	}
	if stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: %s belongs to user %d: run 'chown root %[2]s'", ErrRefused, path, stat.Uid)
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		return fmt.Errorf("%w: others may write %s (mode %04o): run 'chmod go-w %[2]s'", ErrRefused, path, perm)
	}
	return nil
}
