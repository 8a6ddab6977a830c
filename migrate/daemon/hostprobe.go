package daemon

import (
	"context"
	"errors"
	"fmt"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/volbridge/volbridge/hooks"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/migrate"
)

// LibVersion is the version of the daemon, as a number: 9.0.0 is 9000000.
func (d *Daemon) LibVersion(ctx context.Context) (uint32, error) {
	return within(ctx, func() (uint32, error) {
		v, err := d.conn.GetLibVersion()
		return v, plain(err)
	})
}

// ErrNoAnswer: libvirt has said no to the domain of a probe, but no hook of
// volbridge has. The error has libvirt's words.
var ErrNoAnswer = errors.New("the hook of volbridge did not answer")

// AskHost asks the hook on the daemon's host who that host is. Nothing runs,
// nothing is stored, and no pool is asked; see Probe.
func (d *Daemon) AskHost(ctx context.Context) (hooks.ProbeAnswer, error) {
	return d.ask(ctx, hooks.HostQuestion)
}

// AskPools asks the hook on the daemon's host whether it can serve the pools.
func (d *Daemon) AskPools(ctx context.Context, pools []string) (hooks.ProbeAnswer, error) {
	return d.ask(ctx, pools...)
}

func (d *Daemon) ask(ctx context.Context, pools ...string) (hooks.ProbeAnswer, error) {
	return within(ctx, func() (hooks.ProbeAnswer, error) {
		like, err := d.anyGuest()
		if err != nil {
			return hooks.ProbeAnswer{}, err
		}
		xml, err := probeXML(like, pools)
		if err != nil {
			return hooks.ProbeAnswer{}, err
		}
		dom, err := d.conn.DomainCreateXML(xml, libvirt.DOMAIN_START_PAUSED|libvirt.DOMAIN_START_AUTODESTROY)
		if err == nil {
			return hooks.ProbeAnswer{}, errors.Join(errors.New("the probe domain started, which it never should"), plain(dom.Destroy()), plain(dom.Free()))
		}
		if answer, ok := hooks.ParseProbe(err.Error()); ok {
			return answer, nil
		}
		return hooks.ProbeAnswer{}, fmt.Errorf("%w: %w", ErrNoAnswer, plain(err))
	})
}

// anyGuest is the kind of guest that this daemon could run.
func (d *Daemon) anyGuest() (migrate.Guest, error) {
	text, err := d.conn.GetCapabilities()
	if err != nil {
		return migrate.Guest{}, plain(err)
	}
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(text); err != nil {
		return migrate.Guest{}, fmt.Errorf("read the capabilities of %s: %w", d.uri, err)
	}
	native := ""
	if caps.Host.CPU != nil {
		native = caps.Host.CPU.Arch
	}
	for _, g := range caps.Guests {
		if g.Arch.Name != native || len(g.Arch.Domains) == 0 {
			continue
		}
		xml := fmt.Sprintf("<domain type='%s'><os><type arch='%s'>%s</type></os></domain>", g.Arch.Domains[0].Type, g.Arch.Name, g.OSType)
		return migrate.Guest{Name: "of a probe", LiveXML: xml}, nil
	}
	return migrate.Guest{}, fmt.Errorf("%s has no QEMU for its own kind of processor (%s): install one", d.uri, native)
}

// Guests counts the domains of the daemon and asks each for its state, as
// `virsh list` does: a hook that hangs makes it wait.
func (d *Daemon) Guests(ctx context.Context) (int, error) {
	return within(ctx, func() (int, error) {
		doms, err := d.conn.ListAllDomains(0)
		if err != nil {
			return 0, fmt.Errorf("list the domains of %s: %w", d.uri, plain(err))
		}
		for i := range doms {
			_, _, err := doms[i].GetState()
			doms[i].Free()
			if err != nil && !virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
				return 0, fmt.Errorf("ask %s for the state of a domain: %w", d.uri, plain(err))
			}
		}
		return len(doms), nil
	})
}
