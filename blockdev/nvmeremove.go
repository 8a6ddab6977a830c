package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// flushAll flushes every node of the namespace. Without native multipath there
// are several.
func (t nvme) flushAll(ctx context.Context, c Connection) error {
	if err := t.check(c); err != nil {
		return err
	}
	v, err := t.look(c)
	if err != nil {
		return err
	}
	for _, n := range v.withNGUID(c.Identity) {
		if err := t.flushOne(ctx, n); err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

func (t nvme) flushOne(ctx context.Context, n nvmeNamespace) error {
	err := t.checkNode(n)
	var missing *unsettled
	if errors.As(err, &missing) && !missing.wrong {
		return nil // going
	}
	if err != nil {
		return err
	}
	if err := awaitIdle(ctx, t.host, n.node, t.patience, busyButUdev); err != nil {
		return err
	}
	if err := t.flush(n.node); err != nil {
		return fmt.Errorf("flush %s, which has to stay until its data is written: %w", n.node, err)
	}
	return ctx.Err()
}

// gone waits until neither the namespace nor its link is on this host. A node
// that is gone while sysfs still shows its namespace counts as gone: the
// kernel removes the node first, and says nothing when it is done.
func (t nvme) gone(ctx context.Context, c Connection) error {
	if err := t.check(c); err != nil {
		return err
	}
	_, err := t.hunt(ctx, c, func(_ context.Context, h *nvmeHunt) (Device, error) {
		v, err := t.look(c)
		if err != nil {
			return Device{}, err
		}
		h.see(v)
		for _, n := range v.withNGUID(c.Identity) {
			if _, err := os.Lstat(n.node); vanished(err) {
				continue
			}
			h.note(h.scans.ask(v))
			return Device{}, &unsettled{missing: fmt.Sprintf("%s is still here with NGUID %s; "+
				"does the array still show the volume to this host (%s)?", n.node, c.Identity, c.NVMe.HostNQN)}
		}
		return Device{}, t.linkGone(c)
	})
	return err
}

// linkGone: udev takes the link away. One that leads to a device that is
// there is somebody else's, who reaches the volume as another host.
func (t nvme) linkGone(c Connection) error {
	target, err := readLink(c.Path)
	if err != nil || target == "" {
		return err
	}
	if _, err := os.Lstat(target); !vanished(err) {
		return err
	}
	return &unsettled{missing: fmt.Sprintf("the namespace has gone, but its link %s is left; is systemd-udevd running?", c.Path)}
}
