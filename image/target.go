package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Target is an attached block device that is being written by this process
// alone.
type Target struct {
	f         *os.File
	sizeBytes int64
}

// ErrTargetInUse: the kernel itself uses the device: it is mounted, or another
// device lies on it.
var ErrTargetInUse = errors.New("the device is in use on this host (mounted, or part of another device; see lsblk)")

// OpenTarget opens the device of a volume, which has exactly sizeBytes. Until it
// is closed nothing on this host can mount it or build on it, and udev does not
// look into it while it is half written.
func OpenTarget(ctx context.Context, device string, sizeBytes int64) (*Target, error) {
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("open %s: %w", device, ErrTargetInUse)
	}
	if err != nil {
		return nil, err
	}
	t := &Target{f: f, sizeBytes: sizeBytes}
	if err := errors.Join(t.measure(), t.lock(ctx)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

// measure compares the size that the device says with the one it must have.
func (t *Target) measure() error {
	end, err := t.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if end != t.sizeBytes {
		return fmt.Errorf("%s has %d bytes, wanted %d", t.f.Name(), end, t.sizeBytes)
	}
	return nil
}

// lock keeps udev away, by the agreement that systemd describes in "Locking
// Block Device Access": it looks into no whole device that is locked so. udev
// itself may just be looking; then it is waited for.
func (t *Target) lock(ctx context.Context) error {
	got := make(chan error, 1)
	fd, err := unix.FcntlInt(t.f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	go func() {
		// The duplicate shares the lock and keeps the number from being used
		// again while this waits.
		defer unix.Close(fd)
		for {
			if err := unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
				got <- err
				return
			}
		}
	}()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for who looks into %s: %w", t.f.Name(), context.Cause(ctx))
	}
}

// Close gives the device back.
func (t *Target) Close() error { return t.f.Close() }

// What Empty looks at: so many places, each so long, the first and the last of
// the device among them. A device that is not longer than all of them together
// is read whole.
const (
	emptyPlaces = 64
	emptyBytes  = 1 << 20
)

// EmptyText says to people what Empty looks at.
const EmptyText = "the first MiB, the last MiB and 62 MiB evenly between"

// Empty says whether the device reads as zeroes wherever it is looked at, and if
// not, where the first other byte is. It cannot be a proof without reading the
// whole device; but no partition table, file system, swap space or volume
// manager begins or ends with a MiB of zeroes.
func (t *Target) Empty(ctx context.Context) (empty bool, at int64, err error) {
	buf := make([]byte, emptyBytes)
	last := max(0, t.sizeBytes-emptyBytes)
	for i := range int64(emptyPlaces) {
		if ctx.Err() != nil {
			return false, 0, context.Cause(ctx)
		}
		from := last / (emptyPlaces - 1) * i
		if last < emptyPlaces*emptyBytes {
			from = min(i*emptyBytes, last)
		}
		if i == emptyPlaces-1 {
			from = last
		}
		part := buf[:min(emptyBytes, t.sizeBytes-from)]
		if _, err := t.f.ReadAt(part, from); err != nil {
			return false, 0, fmt.Errorf("read %s: %w", t.f.Name(), err)
		}
		if !bytes.Equal(part, zeroes[:len(part)]) {
			first := bytes.IndexFunc(part, func(r rune) bool { return r != 0 })
			return false, from + int64(first), nil
		}
	}
	return true, 0, nil
}

// zero makes a part read as zeroes, and gives its space back where the storage
// can.
func (t *Target) zero(r span) error {
	if r.size() <= 0 {
		return nil
	}
	// On a block device: zeroes for sure, by unmapping where that gives them.
	err := unix.Fallocate(int(t.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.from, r.size())
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		err = t.writeZeroes(r)
	}
	if err != nil {
		return fmt.Errorf("zero %d bytes of %s from %d: %w", r.size(), t.f.Name(), r.from, err)
	}
	return nil
}

// writeZeroes has the kernel write zeroes, for storage that knows no quicker
// way.
func (t *Target) writeZeroes(r span) error {
	part := [2]uint64{uint64(r.from), uint64(r.size())}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, t.f.Fd(), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&part)))
	if errno != 0 {
		return errno
	}
	return nil
}

// writeOverZeroes writes data where the device reads as zeroes, and flushes it
// to the storage. What is zero anyway needs no space there.
func (t *Target) writeOverZeroes(data []byte, at int64) error {
	for from := 0; from < len(data); from += chunkBytes {
		chunk := data[from:min(from+chunkBytes, len(data))]
		if bytes.Equal(chunk, zeroes[:len(chunk)]) {
			continue
		}
		if _, err := t.f.WriteAt(chunk, at+int64(from)); err != nil {
			return fmt.Errorf("write %s: %w", t.f.Name(), err)
		}
	}
	return t.flush()
}

const chunkBytes = 64 << 10

var zeroes [emptyBytes]byte

// flush makes everything that was written durable, whoever wrote it: a flush
// goes to the device, not to the file descriptor.
func (t *Target) flush() error {
	if err := t.f.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", t.f.Name(), err)
	}
	return nil
}

// forget drops what the kernel has cached of the device, so that reading it
// asks the storage.
func (t *Target) forget() error {
	if err := unix.IoctlSetInt(int(t.f.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("drop the cache of %s: %w", t.f.Name(), err)
	}
	return nil
}

// node is the device as QEMU opens it, past the page cache.
func (t *Target) node() node {
	return node{
		"driver": string(Raw),
		"file":   node{"driver": "host_device", "filename": t.f.Name(), "cache": node{"direct": true}},
	}
}
