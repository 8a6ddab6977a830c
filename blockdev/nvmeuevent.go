package blockdev

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// uevents tells of what the kernel does with its NVMe devices, and of when udev
// has dealt with it. A controller that comes back to life and a namespace that
// changes its size make no event in any folder.
type uevents struct {
	socket *os.File
}

// The multicast groups: the kernel speaks in the first, and in the second udev
// repeats each event once its links are made or removed.
const (
	kernelGroup = 1 << 0
	udevGroup   = 1 << 1
)

func newUevents() (*uevents, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open the kernel's uevents: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup | udevGroup}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen to the kernel's uevents: %w", err)
	}
	return &uevents{os.NewFile(uintptr(fd), "uevents")}, nil
}

// next returns after at least one event of an NVMe device, or with the cause
// of ctx's end.
func (u *uevents) next(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = u.socket.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		message, err := u.receive()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, unix.ENOBUFS) {
			return nil // some were lost: it may have been ours
		}
		if err != nil {
			return err
		}
		if concernsNVMe(message) {
			return nil
		}
	}
}

// receive returns the next message. Whoever sent it, it is only a reason to
// look.
func (u *uevents) receive() (message []byte, err error) {
	raw, err := u.socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, 8192) // the kernel's are at most 2 KiB and some; the rest of udev's does not matter
	var got error
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := unix.Recvfrom(int(fd), buffer, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return false
		}
		got = err
		message = buffer[:max(n, 0)]
		return true
	})
	return message, errors.Join(err, got)
}

func (u *uevents) close() { _ = u.socket.Close() }

// concernsNVMe reads a uevent: a line ACTION@DEVPATH and then KEY=VALUE, each
// ended by a zero byte. Udev's have a header instead of the line.
func concernsNVMe(message []byte) bool {
	message = withoutUdevHeader(message)
	var subsystem, device []byte
	for field := range bytes.SplitSeq(message, []byte{0}) {
		key, value, _ := bytes.Cut(field, []byte{'='})
		switch string(key) {
		case "SUBSYSTEM":
			subsystem = value
		case "DEVPATH":
			device = value
		}
	}
	switch string(subsystem) {
	case "nvme", "nvme-subsystem":
		return true
	case "block":
		return bytes.HasPrefix(device[bytes.LastIndexByte(device, '/')+1:], []byte("nvme"))
	}
	return false
}

// withoutUdevHeader cuts off what udev puts before the properties: its name, a
// magic number, the header's size, and where the properties begin, the last
// three as 32 bits in the machine's order.
func withoutUdevHeader(message []byte) []byte {
	const offsetAt = 16
	if !bytes.HasPrefix(message, []byte("libudev\x00")) || len(message) < offsetAt+4 {
		return message
	}
	begin := binary.NativeEndian.Uint32(message[offsetAt:])
	if uint64(begin) > uint64(len(message)) {
		return nil
	}
	return message[begin:]
}
