package blockdev

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/internal/bounded"
)

// drbd is the transport of DRBD. The device is there because the resource is
// up on this host, by hand or by a controller; this transport makes none and
// takes none away. It waits for the stable path, asks the kernel which resource
// the device belongs to and how far its data is complete, and only then hands
// it over. Who may be Primary is the pool's business, and must be settled
// before Attach: DRBD 8.4 lets nobody open a device that is Secondary.
type drbd struct {
	host  Host
	tools drbdtools.Tools
	major uint32
	// patience is how long Flush waits for those who have the device open for
	// a moment.
	patience time.Duration
	flush    func(node string) error
	// waits, if not nil, is called before each waiting for an event: a test ends
	// what would otherwise end with its time only.
	waits func()
}

// drbdMajor is the kernel's device number of DRBD.
const drbdMajor = 147

func newDRBD(h Host) drbd {
	system := System()
	for field, otherwise := range map[*string]string{&h.Sys: system.Sys, &h.Dev: system.Dev, &h.Proc: system.Proc} {
		if *field == "" {
			*field = otherwise
		}
	}
	return drbd{host: h, tools: drbdtools.Tools{Folder: h.DRBDTools}, major: drbdMajor, patience: 3 * time.Second, flush: flushDevice}
}

// Attach implements Transport.
func (t drbd) Attach(ctx context.Context, c Connection) (Device, error) {
	d, err := bounded.Do(ctx, func(ctx context.Context) (Device, error) { return t.attach(ctx, c) })
	return d, about("attach", c, err)
}

// Find implements Transport. A device that cannot be opened because it is
// Secondary is not attached.
func (t drbd) Find(ctx context.Context, c Connection) (Device, error) {
	d, err := bounded.Do(ctx, func(ctx context.Context) (Device, error) { return t.find(ctx, c) })
	return d, about("find", c, err)
}

// Detach implements Transport.
func (t drbd) Detach(_ context.Context, c Connection) error {
	return about("detach", c, errors.New("a DRBD device is there as long as its resource is up: Flush, end the grant, "+
		"and wait with Gone where a controller takes the resource down"))
}

// Flush implements Remover.
func (t drbd) Flush(ctx context.Context, c Connection) error {
	return about("flush", c, bounded.Run(ctx, func(ctx context.Context) error { return t.flushIdle(ctx, c) }))
}

// Gone implements Remover, for a resource that its controller takes down on
// this host. With Connection.Lasting nobody calls it.
func (t drbd) Gone(ctx context.Context, c Connection) error {
	return about("wait for the end of", c, bounded.Run(ctx, func(ctx context.Context) error { return t.gone(ctx, c) }))
}

// check refuses a connection that no backend of ours can have made.
func (t drbd) check(c Connection) error {
	if c.DRBD == nil {
		return errors.New("the connection does not name a DRBD resource")
	}
	r, volume := c.DRBD.Resource, c.DRBD.Volume
	switch {
	case !drbdtools.ValidResource(r) || volume < 0:
		return fmt.Errorf("%q is no DRBD resource with a volume %d", shorten(r), volume)
	case c.Identity != DRBDIdentity(r, volume):
		return fmt.Errorf("identity %q is not that of resource %s, volume %d", shorten(string(c.Identity)), r, volume)
	case c.Path != t.link(r, volume):
		return fmt.Errorf("path %q is not the device path of this volume, %s", shorten(c.Path), t.link(r, volume))
	}
	return nil
}

// link is DRBDPath below this host's /dev.
func (t drbd) link(resource string, volume int) string {
	below, err := filepath.Rel("/dev", DRBDPath(resource, volume))
	if err != nil {
		return "" // both are absolute
	}
	return filepath.Join(t.host.Dev, below)
}

// flushIdle: what is not Primary cannot have been written since it was, and
// DRBD 8.4 does not let it be opened.
func (t drbd) flushIdle(ctx context.Context, c Connection) error {
	if err := t.check(c); err != nil {
		return err
	}
	s, err := t.tools.State(ctx, c.DRBD.Resource)
	if err != nil {
		return err
	}
	d, up := s.Device(c.DRBD.Volume)
	if !up || s.Role != drbdtools.Primary {
		return nil
	}
	node := t.node(d)
	if err := t.checkNode(node, d); err != nil {
		return err
	}
	if err := awaitIdle(ctx, t.host, node, t.patience, busy); err != nil {
		return err
	}
	if err := t.flush(node); err != nil && !t.severed(ctx, c) {
		return fmt.Errorf("flush %s, which has to stay until its data is written: %w", node, err)
	}
	return ctx.Err()
}

// severed says whether a device that could not be flushed has nowhere to write:
// no disk here, and no peer. It holds nothing back then: nobody has it open, and
// what the last one to close it had not written, the kernel has tried to write and
// dropped. DRBD 8.4 does not connect it any more while it is Primary, so that
// whoever waits for a flush waits for ever.
func (t drbd) severed(ctx context.Context, c Connection) bool {
	s, err := t.tools.State(ctx, c.DRBD.Resource)
	return err == nil && s.Severed(c.DRBD.Volume)
}

func (t drbd) node(d drbdtools.Device) string {
	return filepath.Join(t.host.Dev, fmt.Sprintf("drbd%d", d.Minor))
}
