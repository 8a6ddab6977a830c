package clusters

import (
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/lab/linstor"
)

// errRefused is the kernel's answer to a role that it does not give.
var errRefused = errors.New("state change failed")

// Available implements linstor.Satellites.
func (n *Nodes) Available(r linstor.Resource) error {
	n.last[r.Name] = r.Node
	for _, peer := range r.Peers {
		if err := unlessRefused(n.demote(place{r.Name, peer})); err != nil {
			return err
		}
	}
	return unlessRefused(n.promote(place{r.Name, r.Node}))
}

func unlessRefused(err error) error {
	if errors.Is(err, errRefused) {
		return nil
	}
	return err
}

// promote makes a host Primary unless another one is and two are not allowed.
func (n *Nodes) promote(at place) error {
	d := n.devices[at]
	if d == nil {
		return nil // nobody there opens a device
	}
	return n.Change(func(s *drbdsim.State) error {
		on := s.Resources[at.resource].Hosts
		me := on[at.node]
		for name, peer := range on {
			if name != at.node && peer.Role == drbdsim.Primary && !(peer.Two && me.Two) {
				return fmt.Errorf("%w: multiple primaries are not allowed, and %s is one", errRefused, name)
			}
		}
		if me.Role == drbdsim.Primary {
			return nil
		}
		me.Role = drbdsim.Primary
		return d.show(d.writable)
	})
}

// demote makes a host Secondary unless the device is open there. Nobody can open
// the writable device any more when it is looked at.
func (n *Nodes) demote(at place) error {
	d := n.devices[at]
	if d == nil {
		return nil
	}
	return n.Change(func(s *drbdsim.State) error {
		me := s.Resources[at.resource].Hosts[at.node]
		if me.Role != drbdsim.Primary {
			return nil
		}
		if err := d.show(d.readOnly); err != nil {
			return err
		}
		holder, err := d.opener(d.writable.rdev)
		if err != nil || holder != "" {
			if holder != "" {
				err = fmt.Errorf("%w: %w", errRefused, refusal(holder, at))
			}
			return errors.Join(err, d.show(d.writable))
		}
		me.Role = drbdsim.Secondary
		return nil
	})
}

// TwoPrimaries implements linstor.Satellites.
func (n *Nodes) TwoPrimaries(a, b linstor.Resource, on bool) error {
	x, y := place{a.Name, a.Node}, place{b.Name, b.Node}
	if on {
		if err := n.allow(x, y, true); err != nil {
			return err
		}
		return errors.Join(unlessRefused(n.promote(x)), unlessRefused(n.promote(y)))
	}
	if n.last[a.Name] == x.node {
		x, y = y, x
	}
	err := n.demote(x)
	if errors.Is(err, errRefused) {
		if other := n.demote(y); other != nil {
			return fmt.Errorf("failure: (164) Can not clear allow_two_primaries as long as there a primaries on both sides: %w", errors.Join(err, other))
		}
		err = nil
	}
	if err != nil {
		return err
	}
	return n.allow(x, y, false)
}

func (n *Nodes) allow(x, y place, two bool) error {
	return n.Change(func(s *drbdsim.State) error {
		for _, at := range []place{x, y} {
			s.Resources[at.resource].Hosts[at.node].Two = two
		}
		return nil
	})
}
