package flasharray

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool/settings"
)

// nvmePort is where a FlashArray listens for NVMe/TCP.
const nvmePort = 4420

func (s *Settings) portals(wrong settings.Findings) []blockdev.Portal {
	var list []blockdev.Portal
	for _, text := range s.Portals {
		p, err := parsePortal(text)
		switch {
		case err != nil:
			wrong.Add("portals", err.Error())
		case slices.Contains(list, p):
			wrong.Add("portals", fmt.Sprintf("%q is there twice", clip(text)))
		}
		list = append(list, p)
	}
	return list
}

// parsePortal takes IP[:port]; an IPv6 address with a port is in brackets.
func parsePortal(text string) (blockdev.Portal, error) {
	if ip, err := netip.ParseAddr(text); err == nil && usableIP(ip) {
		return blockdev.Portal{Address: ip.String(), Port: nvmePort}, nil
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 || !usableIP(at.Addr()) {
		return blockdev.Portal{}, fmt.Errorf("%q is no portal: write an IP address, or IP:port, or [IPv6]:port", clip(text))
	}
	return blockdev.Portal{Address: at.Addr().String(), Port: int(at.Port())}, nil
}

func usableIP(ip netip.Addr) bool { return !ip.IsUnspecified() && !ip.IsMulticast() }

// LossTimeout is a duration, or "never" for one that does not end.
type LossTimeout time.Duration

// never is what blockdev.NVMeTarget has for it.
const never LossTimeout = -1

// UnmarshalText reads "10m" or "never".
func (l *LossTimeout) UnmarshalText(text []byte) error {
	if string(text) == "never" {
		*l = never
		return nil
	}
	var d units.Duration
	if err := d.UnmarshalText(text); err != nil {
		return fmt.Errorf("%w, or never", err)
	}
	*l = LossTimeout(d)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (l LossTimeout) MarshalText() ([]byte, error) {
	if l < 0 {
		return []byte("never"), nil
	}
	return units.Duration(l).MarshalText()
}
