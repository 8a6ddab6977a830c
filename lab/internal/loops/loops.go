// Package loops finds the loop devices that a lab has left bound and unbinds
// them, and never another one.
package loops

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Device is one bound loop device.
type Device struct {
	Node    string // /dev/loop3
	Backing string // path of the file as the kernel tells it now
	File    FileID
	Name    string // what whoever bound it called the file then, up to 63 bytes
}

// FileID identifies a file on the machine, whatever it is called.
type FileID struct {
	Dev, Ino uint64
}

// Bound lists the bound loop devices of the machine.
func Bound() ([]Device, error) {
	names, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var devices []Device
	for _, name := range names {
		d, err := inspect(name)
		if errors.Is(err, fs.ErrNotExist) || gone(err) {
			continue // unbound since the listing
		}
		if err != nil {
			return nil, err
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// gone says whether the device is being unbound, or was while it was looked at:
// sysfs then answers ENODEV where an attribute was open, and the device ENXIO.
func gone(err error) bool { return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) }

func inspect(attribute string) (Device, error) {
	backing, err := os.ReadFile(attribute)
	if err != nil {
		return Device{}, err
	}
	node := "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(attribute)))
	f, err := os.Open(node)
	if err != nil {
		return Device{}, err
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return Device{}, fmt.Errorf("read status of %s: %w", node, err)
	}
	return Device{
		Node:    node,
		Backing: strings.TrimSuffix(string(backing), "\n"),
		File:    FileID{Dev: decodeDev(info.Device), Ino: info.Inode},
		Name:    unix.ByteSliceToString(info.File_name[:]),
	}, nil
}

// decodeDev turns the kernel's huge_encode_dev form into what stat reports.
func decodeDev(encoded uint64) uint64 {
	major := uint32(encoded>>8) & 0xfff
	minor := uint32(encoded&0xff | (encoded>>12)&^0xff)
	return unix.Mkdev(major, minor)
}

// Path is the backing file's path, whether or not it has been deleted.
func (d Device) Path() string { return strings.TrimSuffix(d.Backing, " (deleted)") }

// Under says whether the device's backing file lies under dir by its path, or
// lay there when it was bound.
func (d Device) Under(dir string) bool {
	return strings.HasPrefix(d.Backing, dir+"/") || strings.HasPrefix(d.Name, dir+"/")
}

// Files returns the identities of all regular files under dir. A path is no
// proof once the mount namespace through which a device was bound is gone (the
// kernel then tells the path without its mount point); the file is.
func Files(dir string) (map[FileID]bool, error) {
	files := map[FileID]bool{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		files[FileID{Dev: uint64(stat.Dev), Ino: stat.Ino}] = true
		return nil
	})
	return files, err
}

// Detach unbinds the device if it is still bound to the same file. The kernel
// completes it when the last opener goes.
func Detach(d Device) error {
	f, err := os.OpenFile(d.Node, os.O_RDWR, 0)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach %s: %w", d.Node, err)
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach %s: %w", d.Node, err)
	}
	if (FileID{Dev: decodeDev(info.Device), Ino: info.Inode}) != d.File {
		return nil
	}
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !gone(err) {
		return fmt.Errorf("detach %s: %w", d.Node, err)
	}
	return nil
}
