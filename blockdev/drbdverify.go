package blockdev

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
)

// notPrimary: the device is there and nobody may open it on this host.
type notPrimary struct{ err error }

func (e *notPrimary) Error() string {
	return fmt.Sprintf("it is Secondary on this host, and a peer has it: %v", e.err)
}

// look finds the device and verifies it. An *unsettled says what may still
// come.
func (t drbd) look(ctx context.Context, c Connection) (Device, error) {
	r := c.DRBD
	s, err := t.tools.State(ctx, r.Resource)
	if err != nil {
		return Device{}, err
	}
	d, up := s.Device(r.Volume)
	if !up {
		return Device{}, &unsettled{missing: fmt.Sprintf("the kernel has no volume %d of DRBD resource %s (is it up on this host? see: drbdadm up %s)",
			r.Volume, r.Resource, r.Resource)}
	}
	if r.Minor >= 0 && d.Minor != r.Minor {
		return Device{}, fmt.Errorf("%w: volume %d of DRBD resource %s is minor %d on this host, wanted %d",
			ErrWrongDevice, r.Volume, r.Resource, d.Minor, r.Minor)
	}
	if err := s.Usable(r.Volume, r.Arriving); err != nil {
		return Device{}, err
	}
	node := t.node(d)
	if err := t.checkNode(node, d); err != nil {
		return Device{}, err
	}
	if err := t.checkLink(c, node, d); err != nil {
		return Device{}, err
	}
	return t.measure(c, node)
}

// checkNode makes sure that the node is that of the minor which the kernel
// names.
func (t drbd) checkNode(node string, d drbdtools.Device) error {
	var s unix.Stat_t
	err := unix.Stat(node, &s)
	if errors.Is(err, unix.ENOENT) {
		return &unsettled{missing: fmt.Sprintf("there is no node %s yet", node)}
	}
	if err != nil {
		return fmt.Errorf("stat %s: %w", node, err)
	}
	is := false
	if s.Mode&unix.S_IFMT == unix.S_IFBLK {
		if is, err = t.isMinor(d.Minor, s.Rdev); err != nil {
			return fmt.Errorf("look at the number of %s: %w", node, err)
		}
	}
	if !is {
		return &unsettled{wrong: true, missing: fmt.Sprintf("%s is device %d:%d, and minor %d of DRBD is %d:%d",
			node, unix.Major(s.Rdev), unix.Minor(s.Rdev), d.Minor, t.major, d.Minor)}
	}
	return nil
}

func (t drbd) isMinor(minor int, rdev uint64) (bool, error) {
	if t.host.DRBDNode != nil {
		return t.host.DRBDNode(minor, rdev)
	}
	return unix.Major(rdev) == t.major && unix.Minor(rdev) == uint32(minor), nil
}

// unlinked: the device is there, and its stable path is not.
type unlinked struct {
	unsettled
	minor int
}

func (t drbd) checkLink(c Connection, node string, d drbdtools.Device) error {
	target, err := readLink(c.Path)
	switch {
	case err != nil:
		return err
	case target == "":
		return &unlinked{minor: d.Minor, unsettled: unsettled{missing: fmt.Sprintf("the device is %s, and udev has not made its link %s; "+
			"is systemd-udevd running, and does \"drbdadm sh-udev minor-%d\" know the resource? (udevd does not see a host name that was changed "+
			"since it started)", node, c.Path, d.Minor)}}
	case target != node:
		_, err := os.Lstat(target)
		return &unsettled{wrong: err == nil, missing: fmt.Sprintf("%s leads to %s, but DRBD resource %s is %s", c.Path, target, c.DRBD.Resource, node)}
	}
	return nil
}

// measure takes what nothing on this host uses, and has the right size.
func (t drbd) measure(c Connection, node string) (Device, error) {
	stacked, err := holders(t.host, node)
	if err != nil {
		return Device{}, err
	}
	if len(stacked) > 0 {
		return Device{}, &busyError{node: node, by: fmt.Sprintf("block device %s", stacked)}
	}
	size, err := t.sizeOf(c, node)
	if err != nil {
		return Device{}, err
	}
	if size != c.SizeBytes {
		return Device{}, fmt.Errorf("%w: %s has %d bytes, wanted %d; has the resource been resized? see: drbdadm resize %s",
			ErrWrongDevice, node, size, c.SizeBytes, c.DRBD.Resource)
	}
	return Device{Path: c.Path, Node: node, Identity: c.Identity, SizeBytes: size}, nil
}

// sizeOf opens the device, for itself if it can: what the kernel uses here is not
// handed over. Of one that is closed sysfs knows the size.
func (t drbd) sizeOf(c Connection, node string) (int64, error) {
	if c.DRBD.Closed {
		size, err := t.sizeInSysfs(node)
		if vanished(err) {
			return 0, &unsettled{missing: err.Error()}
		}
		return size, err
	}
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_EXCL|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return 0, &busyError{node: node, by: "the kernel (mounted, swap or similar; see /proc/self/mountinfo)"}
	case errors.Is(err, unix.EMEDIUMTYPE), errors.Is(err, unix.EROFS):
		return 0, &notPrimary{err}
	case vanished(err):
		return 0, &unsettled{missing: err.Error()}
	case err != nil:
		return 0, err
	}
	defer f.Close()
	return deviceBytes(f)
}

func (t drbd) sizeInSysfs(node string) (int64, error) {
	var s unix.Stat_t
	if err := unix.Stat(node, &s); err != nil {
		return 0, fmt.Errorf("stat %s: %w", node, err)
	}
	path := filepath.Join(t.host.Sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev)), "size")
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	const sectorBytes = 512 // what sysfs counts in
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || sectors < 0 || sectors > math.MaxInt64/sectorBytes {
		return 0, fmt.Errorf("%s says %.40q, which is no size", path, text)
	}
	return sectors * sectorBytes, nil
}

func (t drbd) find(ctx context.Context, c Connection) (Device, error) {
	if err := t.check(c); err != nil {
		return Device{}, err
	}
	d, err := t.look(ctx, c)
	var missing *unsettled
	var nameless *unlinked
	var secondary *notPrimary
	switch {
	case errors.As(err, &missing) && missing.wrong:
		return Device{}, fmt.Errorf("%w: %w", ErrWrongDevice, err)
	case errors.As(err, &missing), errors.As(err, &nameless), errors.As(err, &secondary):
		return Device{}, fmt.Errorf("%w: %w", ErrNotAttached, err)
	}
	return d, err
}

// prod asks udev to look at the device once more: that makes a link which is
// missing because udev could not know the resource when the device came.
func (t drbd) prod(minor int) error {
	err := writeAttribute(filepath.Join(t.host.Sys, "block", fmt.Sprintf("drbd%d", minor), "uevent"), "change")
	if err != nil && !vanished(err) {
		return fmt.Errorf("ask udev to look at minor %d of DRBD again: %w", minor, err)
	}
	return nil
}
