package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// opener is a process that has a device open.
type opener struct {
	pid  int
	comm string
}

func (o opener) String() string { return fmt.Sprintf("pid %d (%s)", o.pid, o.comm) }

// openers finds the processes that have the device with this number open. It
// goes by the number and not by the path, because QEMU opens a copy of the
// node in a /dev of its own. A process that goes away meanwhile, or that we
// may not look into, is left out: so an empty answer is no proof, and the
// kernel's own count decides in the end.
func openers(h Host, rdev uint64) ([]opener, error) {
	processes, err := os.ReadDir(h.Proc)
	if err != nil {
		return nil, err
	}
	var found []opener
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || !hasOpen(filepath.Join(h.Proc, p.Name(), "fd"), rdev) {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(h.Proc, p.Name(), "comm"))
		if err != nil {
			comm = []byte("just gone")
		}
		found = append(found, opener{pid, strings.TrimSpace(string(comm))})
	}
	return found, nil
}

func hasOpen(fdFolder string, rdev uint64) bool {
	folder, err := os.Open(fdFolder)
	if err != nil {
		return false
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	for _, name := range names {
		var s unix.Statx_t
		// DONT_SYNC: a file on a server that hangs must not hang us.
		err := unix.Statx(int(folder.Fd()), name, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &s)
		if err == nil && s.Mode&unix.S_IFMT == unix.S_IFBLK && unix.Mkdev(s.Rdev_major, s.Rdev_minor) == rdev {
			return true
		}
	}
	return false
}

// holders lists the devices that the kernel has stacked on a node: device
// mapper, md and the like.
func holders(h Host, node string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(h.Sys, "block", filepath.Base(node), "holders"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// claimed says whether the kernel itself uses the node: a mount, swap, or
// anything else that needs it alone.
func claimed(node string) (bool, error) {
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, f.Close()
}

// busyError is ErrInUse together with who uses the device.
type busyError struct {
	node    string
	by      string
	passing bool // it may well be over in a moment: processes, not stacked devices
}

func (e *busyError) Error() string {
	return fmt.Sprintf("%s: %s has it; close or stop that first", ErrInUse, e.by)
}

func (e *busyError) Unwrap() error { return ErrInUse }

// busy returns a *busyError if anything on this host uses the node.
func busy(h Host, node string) error { return busyWith(h, node, nil) }

// busyButUdev is busy, but for udev that looks at the device's contents.
func busyButUdev(h Host, node string) error { return busyWith(h, node, udevReads) }

func busyWith(h Host, node string, harmless func(Host, opener, uint64) bool) error {
	stacked, err := holders(h, node)
	if err != nil {
		return err
	}
	if len(stacked) > 0 {
		return &busyError{node: node, by: "block device " + strings.Join(stacked, ", ")}
	}
	var s unix.Stat_t
	if err := unix.Stat(node, &s); err != nil {
		return fmt.Errorf("stat %s: %w", node, err)
	}
	who, err := openers(h, s.Rdev)
	if err != nil {
		return err
	}
	if harmless != nil {
		who = slices.DeleteFunc(who, func(o opener) bool { return harmless(h, o, s.Rdev) })
	}
	if len(who) > 0 {
		return &busyError{node: node, by: list(who), passing: true}
	}
	kernel, err := claimed(node)
	if kernel {
		return &busyError{node: node, by: "the kernel (mounted, swap or similar; see /proc/self/mountinfo)"}
	}
	return err
}

func list(who []opener) string {
	var names []string
	for _, o := range who {
		names = append(names, o.String())
	}
	return strings.Join(names, ", ")
}
