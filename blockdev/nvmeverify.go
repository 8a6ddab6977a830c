package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// unsettled says what is still missing, where time may help: the kernel or
// udev has not caught up yet.
type unsettled struct {
	missing string
	wrong   bool // if nothing changes, it is the wrong device
	silent  bool // it is there, and does not answer: nothing is known
	// stale: the kernel remembers the namespace as it was. A rescan helps.
	stale bool
}

func (u *unsettled) Error() string { return u.missing }

// choose finds the namespace that is the volume and that the stable path
// leads to.
func (t nvme) choose(v nvmeView, c Connection) (nvmeNamespace, error) {
	found := v.withNGUID(c.Identity)
	if len(found) == 0 {
		return nvmeNamespace{}, &unsettled{missing: fmt.Sprintf("subsystem %s shows this host (%s) no namespace with NGUID %s",
			c.NVMe.SubsystemNQN, c.NVMe.HostNQN, c.Identity)}
	}
	target, err := readLink(c.Path)
	if err != nil {
		return nvmeNamespace{}, err
	}
	if target == "" {
		return nvmeNamespace{}, &noLink{found[0]}
	}
	for _, n := range found {
		if target == n.node {
			return n, t.checkNode(n)
		}
	}
	_, err = os.Lstat(target)
	return nvmeNamespace{}, &unsettled{wrong: err == nil,
		missing: fmt.Sprintf("%s leads to %s, but the namespace is %s", c.Path, target, found[0].node)}
}

// noLink: the namespace is there, and its stable path is not.
type noLink struct{ namespace nvmeNamespace }

func (e *noLink) Error() string { return e.namespace.node + " has no stable path yet" }

// checkNode makes sure that the node is the namespace's and not one that an
// earlier device left.
func (t nvme) checkNode(n nvmeNamespace) error {
	var s unix.Stat_t
	err := unix.Stat(n.node, &s)
	if errors.Is(err, unix.ENOENT) {
		return &unsettled{missing: fmt.Sprintf("there is no node %s yet", n.node)}
	}
	if err != nil {
		return fmt.Errorf("stat %s: %w", n.node, err)
	}
	if have := fmt.Sprintf("%d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev)); n.number != "" && (have != n.number || s.Mode&unix.S_IFMT != unix.S_IFBLK) {
		return &unsettled{wrong: true, missing: fmt.Sprintf("%s is device %s, and the namespace is %s", n.node, have, n.number)}
	}
	return nil
}

// verify asks the device itself. What the kernel remembers of a namespace may
// be of another volume: an array may use its NSID again before the kernel has
// looked.
func (t nvme) verify(ctx context.Context, n nvmeNamespace, c Connection) (Device, error) {
	id, err := t.host.NVMe.Identify(ctx, n.node)
	if err != nil {
		return Device{}, t.identifyError(n, err)
	}
	return t.judge(n, id, c)
}

// judge compares the answer of a namespace with what it should be, and looks
// what the kernel takes it for and who has it.
func (t nvme) judge(n nvmeNamespace, id Namespace, c Connection) (Device, error) {
	if id.NGUID != string(c.Identity) {
		return Device{}, t.swapped(n, id, c)
	}
	if id.SizeBytes != c.SizeBytes {
		return Device{}, fmt.Errorf("%w: %s says that it has %d bytes, wanted %d; has the volume been resized on the array?",
			ErrWrongDevice, n.node, id.SizeBytes, c.SizeBytes)
	}
	if n.sizeBytes != c.SizeBytes {
		return Device{}, &unsettled{wrong: true, stale: true, missing: fmt.Sprintf(
			"the kernel takes %s for %d bytes large, and it has %d", n.node, n.sizeBytes, c.SizeBytes)}
	}
	if n.readOnly {
		return Device{}, fmt.Errorf("%w: %s is read-only: the array or the host protects it from writing", ErrWrongDevice, n.node)
	}
	if err := t.held(n); err != nil {
		return Device{}, err
	}
	return Device{Path: c.Path, Node: n.node, Identity: c.Identity, SizeBytes: id.SizeBytes}, nil
}

// swapped judges a namespace that says that it is not what the kernel thinks.
// Where the array keeps the volume at another NSID, or nothing is at this one
// any more, the kernel is only late.
func (t nvme) swapped(n nvmeNamespace, id Namespace, c Connection) error {
	hint := c.NVMe.NSID
	if id.NGUID == "" || hint != 0 && n.nsid != 0 && hint != n.nsid {
		return &unsettled{wrong: true, stale: true, missing: fmt.Sprintf(
			"the kernel takes %s (NSID %d) for the volume, and it says that it is %s", n.node, n.nsid, or(id.NGUID, "nothing"))}
	}
	return fmt.Errorf("%w: %s (NSID %d) says that its NGUID is %s, wanted %s: the array shows another volume there; "+
		"see the volume's connections on the array, nothing was written", ErrWrongDevice, n.node, n.nsid, id.NGUID, c.Identity)
}

func (t nvme) identifyError(n nvmeNamespace, err error) error {
	err = fmt.Errorf("ask %s what it is: %w", n.node, err)
	switch {
	case vanished(err):
		return &unsettled{missing: err.Error()}
	case errors.Is(err, unix.EAGAIN): // native multipath without a path that is live
		return &unsettled{silent: true, missing: fmt.Sprintf("%s is here, and no path to it answers at this moment", n.node)}
	}
	return err
}

// held refuses a device that the kernel itself uses here: something was
// stacked on it or mounted by itself when it appeared.
func (t nvme) held(n nvmeNamespace) error {
	stacked, err := folderNames(n.dir + "/holders")
	if err != nil {
		return err
	}
	if len(stacked) > 0 {
		return &busyError{node: n.node, by: fmt.Sprintf("block device %s", stacked)}
	}
	kernel, err := claimed(n.node)
	if kernel {
		return &busyError{node: n.node, by: "the kernel (mounted, swap or similar; see /proc/self/mountinfo)"}
	}
	if vanished(err) {
		return &unsettled{missing: err.Error()}
	}
	return err
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (t nvme) find(ctx context.Context, c Connection) (Device, error) {
	if err := t.check(c); err != nil {
		return Device{}, err
	}
	v, err := t.look(c)
	if err != nil {
		return Device{}, err
	}
	n, err := t.choose(v, c)
	if err == nil {
		var d Device
		if d, err = t.verify(ctx, n, c); err == nil {
			return d, nil
		}
	}
	var missing *unsettled
	var nameless *noLink
	switch {
	case errors.As(err, &missing) && missing.silent:
		return Device{}, err
	case errors.As(err, &missing) && missing.wrong:
		return Device{}, fmt.Errorf("%w: %w", ErrWrongDevice, err)
	case errors.As(err, &missing), errors.As(err, &nameless):
		return Device{}, fmt.Errorf("%w: %w", ErrNotAttached, err)
	}
	return Device{}, err
}
