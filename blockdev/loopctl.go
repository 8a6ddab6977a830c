package blockdev

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loopBlockBytes is the logical block size of our loop devices. It is fixed
// because two hosts may write one volume (<shareable/>): were it larger than
// the guest's 512, QEMU would read, change and write back the rest of a block
// that the other guest writes at the same time.
const loopBlockBytes = 512

// loopMajor is the kernel's device number of loop devices.
const loopMajor = 7

// loopState is what a bound loop device says of itself.
type loopState struct {
	node      string
	info      unix.LoopInfo64
	sizeBytes int64
}

// mark is the name that the loop device was given when it was bound. The
// kernel keeps 64 bytes for the file's name and never reads them, so they
// carry who bound it and for which volume.
func (s loopState) mark() string {
	name, _, _ := bytes.Cut(s.info.File_name[:], []byte{0})
	return string(name)
}

func (s loopState) has(flag uint32) bool { return s.info.Flags&flag != 0 }

// mark is what a loop device of this connection is named; always shorter than
// the kernel's 64 bytes. It holds the host because the loop devices of two
// hosts may be seen from one place, as with containers on one kernel.
func mark(c Connection) string {
	host := sha256.Sum256([]byte(c.HostID))
	return fmt.Sprintf("volbridge:%x:%s", host[:6], c.Identity)
}

// readLoop asks a loop device what it is bound to. A node that is not there or
// not bound gives ErrNotAttached, one that is no loop device ErrWrongDevice.
func readLoop(node string) (loopState, error) {
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENXIO):
		return loopState{}, ErrNotAttached
	case err != nil:
		return loopState{}, err
	}
	defer f.Close()
	return loopStateOf(f)
}

func loopStateOf(f *os.File) (loopState, error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return loopState{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	if s.Mode&unix.S_IFMT != unix.S_IFBLK || unix.Major(s.Rdev) != loopMajor {
		return loopState{}, fmt.Errorf("%w: %s is no loop device", ErrWrongDevice, f.Name())
	}
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if errors.Is(err, unix.ENXIO) {
		return loopState{}, ErrNotAttached
	}
	if err != nil {
		return loopState{}, fmt.Errorf("read the state of %s: %w", f.Name(), err)
	}
	size, err := deviceBytes(f)
	return loopState{node: f.Name(), info: *info, sizeBytes: size}, err
}

// deviceBytes asks a block device for its size.
func deviceBytes(f *os.File) (int64, error) {
	var size uint64
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, fmt.Errorf("read the size of %s: %w", f.Name(), errno)
	}
	return int64(size), nil
}

// freeLoop returns the node of a loop device that nobody had bound a moment
// ago; the kernel makes one more if it must.
func freeLoop(h Host) (node string, err error) {
	control, err := os.OpenFile(filepath.Join(h.Dev, "loop-control"), os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("%w (is the kernel module loop loaded? try: modprobe loop)", err)
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", fmt.Errorf("ask for a free loop device: %w", err)
	}
	return filepath.Join(h.Dev, fmt.Sprintf("loop%d", n)), nil
}

// bindLoop binds file to the loop device in one step: there is no moment in
// which it has the data but not yet our mark.
func bindLoop(loop, file *os.File, name string) error {
	config := unix.LoopConfig{
		Fd:   uint32(file.Fd()),
		Size: loopBlockBytes,
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_DIRECT_IO},
	}
	if copy(config.Info.File_name[:], name) > len(config.Info.File_name)-1 {
		return fmt.Errorf("identity %q is too long for a loop device", name)
	}
	return unix.IoctlLoopConfigure(int(loop.Fd()), &config)
}

// dropAutoclear takes back a request to unbind that the kernel has put off
// until the last opener closes the device.
func dropAutoclear(f *os.File, s loopState) error {
	if !s.has(unix.LO_FLAGS_AUTOCLEAR) {
		return nil
	}
	s.info.Flags &^= unix.LO_FLAGS_AUTOCLEAR
	return unix.IoctlLoopSetStatus64(int(f.Fd()), &s.info)
}

// flushDevice brings everything written to the device to its volume, and
// drops what this host has cached of it.
func flushDevice(node string) error {
	f, err := os.OpenFile(node, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("drop the cache of %s: %w", node, err)
	}
	return nil
}
