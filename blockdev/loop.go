package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/bounded"
)

// loop is the transport of raw files. Its device is marked, when it is bound,
// with the host and the volume; that mark, the file's device and inode, the
// size and direct I/O are read back from the device on every call. The link
// at Connection.Path is only ever a way to find the device, never a proof.
type loop struct {
	host Host
	// patience is how long Detach waits for those who have the device open
	// for a moment, as udev's probing does.
	patience time.Duration
	flush    func(node string) error
}

func newLoop(h Host) loop {
	return loop{host: h, patience: 3 * time.Second, flush: flushDevice}
}

// Attach implements Transport.
func (t loop) Attach(ctx context.Context, c Connection) (Device, error) {
	d, err := bounded.Do(ctx, func(ctx context.Context) (Device, error) { return t.attach(ctx, c) })
	return d, about("attach", c, err)
}

// Find implements Transport.
func (t loop) Find(ctx context.Context, c Connection) (Device, error) {
	d, err := bounded.Do(ctx, func(context.Context) (Device, error) { return t.find(c) })
	return d, about("find", c, err)
}

// Detach implements Transport.
func (t loop) Detach(ctx context.Context, c Connection) error {
	return about("detach", c, bounded.Run(ctx, func(ctx context.Context) error { return t.detach(ctx, c) }))
}

// Grow implements Resizer.
func (t loop) Grow(ctx context.Context, c Connection) (Device, error) {
	d, err := bounded.Do(ctx, func(context.Context) (Device, error) { return t.grow(c) })
	return d, about("grow", c, err)
}

func about(verb string, c Connection, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s volume %s/%s: %w", verb, c.Pool, c.Volume, err)
}

// check refuses a connection that no backend of ours can have made.
func (t loop) check(c Connection) error {
	if err := checkLinkPath(t.host, c); err != nil {
		return err
	}
	switch {
	case c.Identity == "" || c.HostID == "":
		return fmt.Errorf("the connection lacks the identity of volume or host")
	case !filepath.IsAbs(c.File) || filepath.Clean(c.File) != c.File || hasControl(c.File):
		return fmt.Errorf("file %q is not a clean absolute path", c.File)
	}
	return nil
}

func (t loop) find(c Connection) (Device, error) {
	if err := t.check(c); err != nil {
		return Device{}, err
	}
	s, err := t.linked(c)
	if err != nil {
		return Device{}, err
	}
	var file unix.Stat_t
	if err := unix.Lstat(c.File, &file); err != nil {
		return Device{}, fmt.Errorf("raw file %s: %w", c.File, err)
	}
	return verified(s, c, file)
}

func (t loop) attach(ctx context.Context, c Connection) (Device, error) {
	if err := t.check(c); err != nil {
		return Device{}, err
	}
	raw, stat, err := openRaw(c.File)
	if err != nil {
		return Device{}, err
	}
	defer raw.Close()
	if _, err := readLink(c.Path); err != nil {
		return Device{}, err
	}
	there, err := t.ours(c)
	if err != nil {
		return Device{}, err
	}
	if len(there) > 0 {
		d, err := t.reuse(c, there[0], stat)
		if !errors.Is(err, ErrNotAttached) {
			return d, err
		}
	}
	return t.bind(ctx, c, raw, stat)
}

// reuse hands over the device that an earlier call has bound. ErrNotAttached:
// it has just gone.
func (t loop) reuse(c Connection, s loopState, file unix.Stat_t) (Device, error) {
	d, err := verified(s, c, file)
	if err != nil {
		return Device{}, err
	}
	if s.has(unix.LO_FLAGS_AUTOCLEAR) {
		// An earlier Detach was cut off while somebody had the device open.
		if err := t.keep(s.node, mark(c)); err != nil {
			return Device{}, err
		}
	}
	return d, makeLink(c.Path, s.node)
}

// bind binds a free loop device to the file. Another process may be quicker
// with the same one: then there is another free one to ask for.
func (t loop) bind(ctx context.Context, c Connection, raw *os.File, file unix.Stat_t) (Device, error) {
	for {
		node, err := freeLoop(t.host)
		if err != nil {
			return Device{}, err
		}
		if err := WaitNode(ctx, node); err != nil {
			return Device{}, err
		}
		d, err := t.bindTo(ctx, node, c, raw, file)
		if !errors.Is(err, unix.EBUSY) {
			return d, err
		}
		if ctx.Err() != nil {
			return Device{}, fmt.Errorf("other processes took every free loop device: %w", context.Cause(ctx))
		}
	}
}

func (t loop) bindTo(ctx context.Context, node string, c Connection, raw *os.File, file unix.Stat_t) (d Device, err error) {
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		return Device{}, err
	}
	defer f.Close()
	if err := bindLoop(f, raw, mark(c)); err != nil {
		return Device{}, fmt.Errorf("bind %s to %s: %w", node, c.File, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.unbindFresh(f))
		}
	}()
	s, err := loopStateOf(f)
	if err != nil {
		return Device{}, err
	}
	if !s.has(unix.LO_FLAGS_DIRECT_IO) {
		return Device{}, noDirectIO(raw)
	}
	if d, err = verified(s, c, file); err != nil {
		return Device{}, err
	}
	if ctx.Err() != nil {
		return Device{}, context.Cause(ctx)
	}
	return d, makeLink(c.Path, node)
}

// unbindFresh undoes bindLoop on a device that was handed to nobody.
func (t loop) unbindFresh(f *os.File) error {
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("%s is left bound to the volume's file, take it away with: losetup -d %s: %w", f.Name(), f.Name(), err)
	}
	return nil
}

// verified compares what the device says of itself with what it must say.
func verified(s loopState, c Connection, file unix.Stat_t) (Device, error) {
	var wrong []string
	see := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	i := s.info
	see(s.mark() == mark(c), "it is marked %q, wanted %q", s.mark(), mark(c))
	see(i.Device == file.Dev && i.Inode == file.Ino, "its file is inode %d on device %#x, wanted %d on %#x (%s)",
		i.Inode, i.Device, file.Ino, file.Dev, c.File)
	see(i.Offset == 0 && i.Sizelimit == 0, "it shows only a part of the file: offset %d, limit %d", i.Offset, i.Sizelimit)
	see(!s.has(unix.LO_FLAGS_READ_ONLY), "it is read-only")
	see(s.has(unix.LO_FLAGS_DIRECT_IO), "it does not use direct I/O")
	see(s.sizeBytes == c.SizeBytes, "it has %d bytes, wanted %d", s.sizeBytes, c.SizeBytes)
	if len(wrong) > 0 {
		return Device{}, fmt.Errorf("%w: %s: %s", ErrWrongDevice, s.node, strings.Join(wrong, "; "))
	}
	return Device{Path: c.Path, Node: s.node, Identity: c.Identity, SizeBytes: s.sizeBytes}, nil
}

func (t loop) grow(c Connection) (Device, error) {
	if err := t.check(c); err != nil {
		return Device{}, err
	}
	s, err := t.linked(c)
	if err != nil {
		return Device{}, err
	}
	f, err := os.OpenFile(s.node, os.O_RDWR, 0)
	if err != nil {
		return Device{}, err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return Device{}, fmt.Errorf("tell %s that its file has grown: %w", s.node, err)
	}
	return t.find(c)
}
