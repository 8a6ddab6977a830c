package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Trixie is the release of Debian 13: libvirt 11.3 and QEMU 10.0.
const Trixie = "trixie"

// RootDir is where the root file system of a release is cached;
// scripts/trixie-root.sh makes it.
func RootDir(release string) (string, error) {
	cache, err := CacheDir()
	return filepath.Join(cache, release+"-root"), err
}

func (l *Lab) base(release string) (string, error) {
	if release == "" {
		return "/", nil
	}
	dir, err := RootDir(release)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "usr/sbin/libvirtd")); err != nil {
		return "", fmt.Errorf("no root file system of release %q (run scripts/%s-root.sh): %w", release, release, err)
	}
	return dir, nil
}

// What libvirt finds out about a QEMU takes seconds and does not change; hosts
// start with what earlier labs learned. libvirt itself sees when it is stale.
func (h *Host) capabilities() string {
	return filepath.Join(h.dir, "var-cache-libvirt/qemu/capabilities")
}

func (h *Host) cachedCapabilities() string {
	release := h.release
	if release == "" {
		release = "machine"
	}
	return filepath.Join(h.lab.cache, "capabilities", release)
}

func (h *Host) loadCapabilities() error {
	return copyFiles(h.cachedCapabilities(), h.capabilities())
}

func (l *Lab) saveCapabilities() error {
	var errs []error
	for _, h := range l.hosts {
		errs = append(errs, copyFiles(h.capabilities(), h.cachedCapabilities()))
	}
	return errors.Join(errs...)
}

// copyFiles copies the files of a directory, each as a whole or not at all. A
// directory that is not there has none.
func copyFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		if err := copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}
