package flasharray

import (
	"context"
	"net"
	"strconv"
)

// Management implements pool.Managed.
func (b *backend) Management() []string { return []string{"https://" + b.place.address.Host} }

// PortalAddresses implements pool.Portaled: those of the configuration, else
// what the array offers.
func (b *backend) PortalAddresses(ctx context.Context) ([]string, error) {
	portals := b.place.portals
	if len(portals) == 0 {
		t, err := once(ctx, b, targetKey, b.findTarget)
		if err != nil {
			return nil, err
		}
		portals = t.Portals
	}
	var list []string
	for _, p := range portals {
		list = append(list, net.JoinHostPort(p.Address, strconv.Itoa(p.Port)))
	}
	return list, nil
}
