package hostinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/internal/wire"
)

// Private directories of a host: empty at its first boot, kept over later
// ones. They are real directories under the host's own, not part of the
// overlay, so that a loop device's backing file can be recognised.
var private = map[string]string{
	"etc-libvirt":       "/etc/libvirt",
	"etc-volbridge":     "/etc/volbridge",
	"var-lib-libvirt":   "/var/lib/libvirt",
	"var-lib-volbridge": "/var/lib/volbridge",
	"var-cache-libvirt": "/var/cache/libvirt",
	"run":               "/run",
}

// enterRoot lays the host's root file system over its base and makes it the
// root of this mount namespace.
func enterRoot(spec wire.HostSpec) error {
	root := filepath.Join(spec.HostDir, "root")
	steps := []struct {
		what string
		do   func() error
	}{
		{"keep mounts to ourselves", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"lay the root over " + spec.Base, func() error { return overlay(spec, root) }},
		{"share directories", func() error { return share(spec, root) }},
		{"mount private directories", func() error { return bindPrivate(spec, root) }},
		{"mount kernel file systems", func() error { return kernelMounts(spec, root) }},
		{"make /dev", func() error { return makeDev(filepath.Join(root, "dev")) }},
		{"change root", func() error { return pivot(root) }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// overlay is volatile: its end shall not write the machine's whole disk cache
// out. The kernel mounts such a one again only without its old work directory.
func overlay(spec wire.HostSpec, root string) error {
	upper, work := filepath.Join(spec.HostDir, "upper"), filepath.Join(spec.HostDir, "work")
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := mkdirs(0o755, root, upper, work); err != nil {
		return err
	}
	return unix.Mount("overlay", root, "overlay", 0,
		fmt.Sprintf("volatile,lowerdir=%s,upperdir=%s,workdir=%s", spec.Base, upper, work))
}

// share binds the machine's directories: through the overlay a file that is
// made later might not be seen. Deeper mounts stay outside, the overlay itself
// is one of them.
func share(spec wire.HostSpec, root string) error {
	for _, dir := range append(spec.Share, spec.LabDir) {
		if err := bind(dir, filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	return nil
}

func bindPrivate(spec wire.HostSpec, root string) error {
	run := filepath.Join(spec.HostDir, "run")
	if err := empty(run); err != nil {
		return err
	}
	for name, at := range private {
		from := filepath.Join(spec.HostDir, name)
		if err := mkdirs(0o755, from); err != nil {
			return err
		}
		if err := bind(from, filepath.Join(root, at)); err != nil {
			return err
		}
	}
	if err := bind(spec.LogDir, filepath.Join(root, "/var/log/libvirt")); err != nil {
		return err
	}
	return mkdirs(0o755, filepath.Join(root, "run/lock"), filepath.Join(root, "var/lib/libvirt/images"))
}

// empty clears a directory but keeps it, as a boot does with /run.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// kernelMounts makes /proc and /sys the host's own. /sys has no control groups:
// libvirt must not meet the machine's. Each boot has its boot_id, although the
// kernel has only one.
func kernelMounts(spec wire.HostSpec, root string) error {
	proc, sys := filepath.Join(root, "proc"), filepath.Join(root, "sys")
	if err := mkdirs(0o755, proc, sys); err != nil {
		return err
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", proc, "proc", flags, ""); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", sys, "sysfs", flags, ""); err != nil {
		return err
	}
	bootID := filepath.Join(spec.HostDir, "boot_id")
	if err := os.WriteFile(bootID, []byte(spec.BootID+"\n"), 0o444); err != nil {
		return err
	}
	return unix.Mount(bootID, filepath.Join(proc, "sys/kernel/random/boot_id"), "", unix.MS_BIND, "")
}

func pivot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	// Old and new root on one spot: the old one is then on top and goes.
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

func bind(from, at string) error {
	if err := mkdirs(0o755, at); err != nil {
		return err
	}
	if err := unix.Mount(from, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s at %s: %w", from, at, err)
	}
	return nil
}

func mkdirs(mode fs.FileMode, paths ...string) error {
	for _, path := range paths {
		if err := os.MkdirAll(path, mode); err != nil {
			return err
		}
	}
	return nil
}
