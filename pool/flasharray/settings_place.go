package flasharray

import (
	"net/netip"
	"strings"
)

// Place says for people where the pool's volumes are; "" if that is not clear.
// Another transport, user or host group of the same array and pod shows the
// same volumes. An array with two addresses looks like two.
func (s *Settings) Place() string {
	p, wrong := s.place()
	if len(wrong) > 0 || p.address == nil {
		return ""
	}
	port := p.address.Port()
	if port == "" {
		port = "443"
	}
	host := strings.ToLower(p.address.Hostname())
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.String() // an IPv6 address may be written in several ways
	}
	in := "volumes in no pod"
	if p.pod != "" {
		in = "pod " + strings.ToLower(p.pod) // the array does not tell names apart by case
	}
	return "array " + host + " port " + port + ", " + in
}
