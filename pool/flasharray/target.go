package flasharray

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// What differs between transports is here and in address_transport.go: how a
// host names itself, what of the array it connects to, and what becomes of that
// in a Connection.

// initiator is how a host names itself to the array: the field of the array's
// hosts that holds it, and the name.
func (t Transport) initiator(h pool.Host) (field, name string, err error) {
	if err := t.Usable(); err != nil {
		return "", "", err
	}
	switch {
	case h.NQN == "":
		return "", "", fmt.Errorf("host %s has no NVMe name (NQN): write the output of \"nvme gen-hostnqn\" into /etc/nvme/hostnqn there", h.Name)
	case !quotable(h.NQN):
		return "", "", fmt.Errorf("host %s: its NVMe name %q cannot be asked for on the array", h.Name, clip(h.NQN))
	}
	return "nqns", h.NQN, nil
}

// target is what a host connects to.
type target struct {
	SubsystemNQN string            `json:"subsystem_nqn"`
	Portals      []blockdev.Portal `json:"portals"`
}

const targetKey = "target"

// connection says how a host reaches a volume; nothing is granted by it.
func (b *backend) connection(ctx context.Context, v volume, h pool.Host) (pool.Connection, error) {
	if _, _, err := b.place.transport.initiator(h); err != nil {
		return pool.Connection{}, err
	}
	t, err := once(ctx, b, targetKey, b.findTarget)
	if err != nil {
		return pool.Connection{}, err
	}
	portals := t.Portals
	if len(b.place.portals) > 0 {
		portals = b.place.portals
	}
	return pool.Connection{
		Protocol: blockdev.NVMeTCP, Pool: b.name, Volume: v.name, Identity: b.place.transport.Identity(v.Serial),
		SizeBytes: v.SizeBytes, HostID: h.ID, Path: b.place.transport.Path(v.Serial), Lasting: b.place.hostGroup != "" || b.known(keptKey(v)),
		NVMe: &blockdev.NVMeTarget{
			SubsystemNQN: t.SubsystemNQN, HostNQN: h.NQN, Portals: slices.Clone(portals),
			CtrlLossTimeout:   time.Duration(b.settings.CtrlLossTimeout),
			FastIOFailTimeout: time.Duration(b.settings.FastIOFailTimeout),
		},
	}, nil
}

// findTarget asks the array what it is called as a subsystem, and where it
// listens.
func (b *backend) findTarget(ctx context.Context) (t target, err error) {
	if t.SubsystemNQN, err = b.findSubsystem(ctx); err != nil {
		return t, err
	}
	if len(b.place.portals) > 0 {
		return t, nil
	}
	t.Portals, err = b.findPortals(ctx)
	return t, err
}

func (b *backend) findSubsystem(ctx context.Context) (string, error) {
	ports, err := rest.List[struct {
		NQN string `json:"nqn"` // null: the port is of another protocol
	}](ctx, b.array.Client, rest.Request{Method: http.MethodGet, Path: "/ports"})
	if err != nil {
		return "", err
	}
	found := ""
	for _, p := range ports {
		switch {
		case p.NQN == "" || p.NQN == found:
		case found != "":
			return "", fmt.Errorf("array %s has more than one NVMe subsystem: %s and %s", b.array.Array(), clip(found), clip(p.NQN))
		default:
			found = p.NQN
		}
	}
	if found == "" {
		return "", fmt.Errorf("array %s has no NVMe port: NVMe/TCP has to be enabled there", b.array.Array())
	}
	return found, nil
}

const nvmeService = "nvme-tcp"

func (b *backend) findPortals(ctx context.Context) ([]blockdev.Portal, error) {
	interfaces, err := rest.List[struct {
		Enabled  bool     `json:"enabled"`
		Services []string `json:"services"`
		Eth      struct {
			Address string `json:"address"`
		} `json:"eth"`
	}](ctx, b.array.Client, rest.Request{Method: http.MethodGet, Path: "/network-interfaces"})
	if err != nil {
		return nil, err
	}
	var portals []blockdev.Portal
	for _, i := range interfaces {
		ip, ok := plainIP(i.Eth.Address)
		p := blockdev.Portal{Address: ip.String(), Port: nvmePort}
		if i.Enabled && ok && slices.Contains(i.Services, nvmeService) && !slices.Contains(portals, p) {
			portals = append(portals, p)
		}
	}
	if len(portals) == 0 {
		return nil, fmt.Errorf("array %s has no enabled network interface with the service %s: enable one, or set portals in the configuration",
			b.array.Array(), nvmeService)
	}
	return portals, nil
}

// plainIP takes an address, with or without the length of its prefix.
func plainIP(text string) (netip.Addr, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr(), usableIP(p.Addr())
	}
	ip, err := netip.ParseAddr(text)
	return ip, err == nil && usableIP(ip)
}
