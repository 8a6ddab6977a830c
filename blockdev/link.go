package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// LinkFolder holds, below /dev, our own device links: LinkFolder/POOL/VOLUME.
const LinkFolder = "volbridge"

// maxNameBytes leaves room in a file name for what is put before it.
const maxNameBytes = 200

// StablePath is the path of a volume whose transport has no stable path of its
// own. It is the same on every host.
func StablePath(pool, volume string) string { return filepath.Join("/dev", LinkFolder, pool, volume) }

// checkLinkPath refuses a connection whose path is not exactly the link of its
// pool and volume: the path comes from configuration and file systems that
// others may write, and we make and remove links there as root.
func checkLinkPath(h Host, c Connection) error {
	for what, name := range map[string]string{"pool": c.Pool, "volume": c.Volume} {
		if name == "" || name == "." || name == ".." || len(name) > maxNameBytes || strings.ContainsRune(name, '/') || hasControl(name) {
			return fmt.Errorf("%s name %q cannot be part of a device path", what, name)
		}
	}
	if want := filepath.Join(h.Dev, LinkFolder, c.Pool, c.Volume); c.Path != want {
		return fmt.Errorf("path %q is not the device path of this volume, %s", c.Path, want)
	}
	return nil
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// readLink returns the node that the link at path leads to, without asking
// whether it exists; empty if there is no link. Anything but a link is an
// error: we did not make it.
func readLink(path string) (string, error) {
	// One look: between two udev may take the link away.
	target, err := os.Readlink(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.Is(err, unix.EINVAL):
		return "", fmt.Errorf("%w: %s is no link of volbridge's; move it away", ErrWrongDevice, path)
	case err != nil:
		return "", err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	return filepath.Clean(target), nil
}

// makeLink makes the link at path lead to node, in one step also where a link
// was there. It is relative, as udev's are.
func makeLink(path, node string) error {
	folder := filepath.Dir(path)
	if err := openFolder(folder); err != nil {
		return err
	}
	target, err := filepath.Rel(folder, node)
	if err != nil {
		return err
	}
	if have, err := os.Readlink(path); err == nil && have == target {
		return nil
	}
	temp := unfinished(path)
	if err := removeIfThere(temp); err != nil { // of a process that was killed here
		return err
	}
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// unfinished is the name under which a link is made. It follows from the
// link's own, so that what a killed process left is found and removed; the
// volume's lock keeps others from it. No volume's name begins with a dot.
func unfinished(path string) string {
	folder, name := filepath.Split(path)
	return filepath.Join(folder, ".new-"+name)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openFolder makes the pool's folder of links and the one above it, such that
// QEMU's user can pass whatever the umask of our caller is.
func openFolder(folder string) error {
	for _, f := range []string{filepath.Dir(folder), folder} {
		switch err := os.Mkdir(f, 0o755); {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return err
		}
		if err := os.Chmod(f, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// dropLink removes the link at path if there is one, and one that was not
// finished.
func dropLink(path string) error {
	if err := removeIfThere(unfinished(path)); err != nil {
		return err
	}
	if target, err := readLink(path); target == "" || err != nil {
		return err
	}
	return removeIfThere(path)
}
