package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FileHints are hints as empty files in a folder, named after the UUID of the
// domain. The folder is on a file system that a boot empties, and so are the
// devices.
type FileHints string

// Mark makes the hint; it is idempotent.
func (dir FileHints) Mark(uuid string) error {
	if err := os.MkdirAll(string(dir), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(dir.file(uuid), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Clear removes the hint; it is idempotent.
func (dir FileHints) Clear(uuid string) error {
	err := os.Remove(dir.file(uuid))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear the hint of domain %s: %w", uuid, err)
	}
	return nil
}

func (dir FileHints) file(uuid string) string {
	return filepath.Join(string(dir), fileName(uuid))
}
