package blockdev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/volbridge/volbridge/internal/bounded"
)

// nvme is the transport NVMe over TCP. The array decides whether this host
// sees a namespace; this transport sees to it that the host is connected to
// the array's subsystem, waits for the namespace with the wanted NGUID, asks
// the namespace itself what it is and how large, and only then hands its node
// over.
//
// Controllers are shared by all volumes of an array, and others may use them
// too. So this transport makes those that are missing and never takes one
// down, not even its own: without namespaces they cost a keep-alive message
// now and then.
type nvme struct {
	host Host
	// patience is how long Flush waits for those who have the device open for
	// a moment, as udev's probing does.
	patience time.Duration
	// grace is how long Attach waits, once the device is there, for portals
	// that it is still connecting to. The process may end after Attach, and
	// with it those connections: a path less until the next Attach.
	grace time.Duration
	flush func(node string) error
	// dial finds out whether anything listens at a portal; see connect.
	dial     func(context.Context, netip.AddrPort) error
	modprobe func(ctx context.Context, module string) error
}

func newNVMe(h Host) nvme {
	system := System()
	for field, otherwise := range map[*string]string{
		&h.Sys: system.Sys, &h.Dev: system.Dev, &h.Proc: system.Proc, &h.Etc: system.Etc, &h.Run: system.Run,
	} {
		if *field == "" {
			*field = otherwise
		}
	}
	if h.NVMe == nil {
		h.NVMe = system.NVMe
	}
	return nvme{host: h, patience: 3 * time.Second, grace: time.Second, flush: flushDevice, dial: dialTCP, modprobe: modprobe}
}

func dialTCP(ctx context.Context, portal netip.AddrPort) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", portal.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

// Attach implements Transport. Controllers that it made stay after an error
// too: the next call uses them.
func (t nvme) Attach(ctx context.Context, c Connection) (Device, error) {
	d, err := bounded.Do(ctx, func(ctx context.Context) (Device, error) { return t.attach(ctx, c) })
	return d, about("attach", c, err)
}

// Find implements Transport.
func (t nvme) Find(ctx context.Context, c Connection) (Device, error) {
	d, err := bounded.Do(ctx, func(ctx context.Context) (Device, error) { return t.find(ctx, c) })
	return d, about("find", c, err)
}

// Detach implements Transport.
func (t nvme) Detach(_ context.Context, c Connection) error {
	return about("detach", c, errors.New("an NVMe namespace goes when the array takes it away: Flush, end the grant, then wait with Gone"))
}

// Flush implements Remover.
func (t nvme) Flush(ctx context.Context, c Connection) error {
	return about("flush", c, bounded.Run(ctx, func(ctx context.Context) error { return t.flushAll(ctx, c) }))
}

// Gone implements Remover.
func (t nvme) Gone(ctx context.Context, c Connection) error {
	return about("wait for the end of", c, bounded.Run(ctx, func(ctx context.Context) error { return t.gone(ctx, c) }))
}

// Grow implements Resizer.
func (t nvme) Grow(ctx context.Context, c Connection) (Device, error) {
	d, err := bounded.Do(ctx, func(ctx context.Context) (Device, error) { return t.grow(ctx, c) })
	return d, about("grow", c, err)
}

// check refuses a connection that no backend of ours can have made.
func (t nvme) check(c Connection) error {
	switch {
	case !identity.MatchString(string(c.Identity)) || c.Identity == noNGUID:
		return fmt.Errorf("identity %q is no NGUID of %d lower-case hexadecimal digits", shorten(string(c.Identity)), nguidDigits)
	case c.Path != t.link(c.Identity):
		return fmt.Errorf("path %q is not the device path of this volume, %s", shorten(c.Path), t.link(c.Identity))
	case c.NVMe == nil:
		return errors.New("the connection does not say where the namespace is")
	case !nqnPattern.MatchString(c.NVMe.SubsystemNQN):
		return fmt.Errorf("%q is no NQN of a subsystem", shorten(c.NVMe.SubsystemNQN))
	case !nqnPattern.MatchString(c.NVMe.HostNQN):
		return fmt.Errorf("%q is no NQN of a host", shorten(c.NVMe.HostNQN))
	}
	return nil
}

// checkReach is what Attach needs beyond check.
func (t nvme) checkReach(c Connection) ([]netip.AddrPort, error) {
	if err := t.check(c); err != nil {
		return nil, err
	}
	if c.SizeBytes <= 0 {
		return nil, fmt.Errorf("a volume of %d bytes cannot be attached", c.SizeBytes)
	}
	if len(c.NVMe.Portals) == 0 {
		return nil, errors.New("the array named no portal for NVMe/TCP: is the service nvme-tcp enabled on one of its interfaces?")
	}
	var portals []netip.AddrPort
	for _, p := range c.NVMe.Portals {
		a, err := p.addrPort()
		if err != nil {
			return nil, err
		}
		portals = append(portals, a)
	}
	return portals, nil
}

// link is the path that udev gives a namespace with this NGUID.
func (t nvme) link(id Identity) string {
	return filepath.Join(t.host.Dev, "disk", "by-id", "nvme-eui."+string(id))
}
