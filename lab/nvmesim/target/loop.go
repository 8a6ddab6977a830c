package target

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/internal/loops"
)

// attachLoop binds a free loop device to the file, with direct I/O so that the
// devices of several hosts on one file agree.
func attachLoop(file string) (d loops.Device, err error) {
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return d, err
	}
	defer backing.Close()
	info, err := backing.Stat()
	if err != nil {
		return d, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return d, err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return d, fmt.Errorf("find a free loop device: %w", err)
		}
		d = loops.Device{Node: fmt.Sprintf("/dev/loop%d", n), File: loops.FileID{Dev: uint64(stat.Dev), Ino: stat.Ino}}
		err = bind(d.Node, backing, file)
		if !errors.Is(err, unix.EBUSY) { // somebody else was quicker
			return d, err
		}
	}
}

func bind(node string, backing *os.File, name string) error {
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Size: 512}
	config.Info.Flags = unix.LO_FLAGS_DIRECT_IO
	copy(config.Info.File_name[:len(config.Info.File_name)-1], name)
	if err := unix.IoctlLoopConfigure(int(f.Fd()), &config); err != nil {
		return fmt.Errorf("bind %s to %s: %w", node, name, err)
	}
	return nil
}

// refreshLoop makes the device as large as its file.
func refreshLoop(node string) error {
	f, err := os.OpenFile(node, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", node, err)
	}
	return nil
}
