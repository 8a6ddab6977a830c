package blockdev

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/volbridge/volbridge/internal/lazyregexp"
)

// nguidDigits is the length of an NGUID: 16 bytes in hexadecimal.
const nguidDigits = 32

// noNGUID is what a namespace without one says.
const noNGUID = "00000000000000000000000000000000"

// parseNGUID reads an NGUID as sysfs shows it, with dashes like a UUID, or as
// 32 digits. All zero, which means that there is none, gives "".
func parseNGUID(text string) (string, error) {
	digits := text
	if len(text) == nguidDigits+4 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' {
		digits = text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	}
	if len(digits) != nguidDigits {
		return "", fmt.Errorf("%q is no NGUID: it has not %d hexadecimal digits", shorten(text), nguidDigits)
	}
	bytes, err := hex.DecodeString(digits)
	if err != nil {
		return "", fmt.Errorf("%q is no NGUID: %w", shorten(text), err)
	}
	return hexUnlessZero(bytes), nil
}

// hexUnlessZero is "" for an identifier that is not set.
func hexUnlessZero(id []byte) string {
	for _, b := range id {
		if b != 0 {
			return hex.EncodeToString(id)
		}
	}
	return ""
}

// parsePortal reads the address of a controller of NVMe/TCP: key=value pairs
// of which some kernels show more than others (host_traddr, src_addr).
func parsePortal(text string) (netip.AddrPort, error) {
	var address netip.Addr
	var port uint64
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if seen[key] {
			return netip.AddrPort{}, fmt.Errorf("address %q names %q twice", shorten(text), shorten(key))
		}
		seen[key] = true
		var err error
		switch key {
		case "traddr":
			address, err = netip.ParseAddr(value)
		case "trsvcid":
			port, err = strconv.ParseUint(value, 10, 16)
		}
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("address %q: %w", shorten(text), err)
		}
	}
	if !address.IsValid() || port == 0 {
		return netip.AddrPort{}, fmt.Errorf("address %q lacks traddr or trsvcid", shorten(text))
	}
	return netip.AddrPortFrom(address.Unmap(), uint16(port)), nil
}

// addrPort is the portal in the form in which portals are compared.
func (p Portal) addrPort() (netip.AddrPort, error) {
	address, err := netip.ParseAddr(p.Address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("portal %q: %w", p.Address, err)
	}
	if p.Port < 1 || p.Port > 65535 {
		return netip.AddrPort{}, fmt.Errorf("portal %s: %d is no port", p.Address, p.Port)
	}
	return netip.AddrPortFrom(address.Unmap(), uint16(p.Port)), nil
}

var (
	// A namespace's node: of a subsystem (native multipath) or of a controller.
	// nvme0c1n1 is a path, which the kernel hides, nvme0n1p1 a partition.
	namespaceName = lazyregexp.New(`^nvme[0-9]{1,9}n[0-9]{1,9}$`)
	pathName      = lazyregexp.New(`^(nvme[0-9]{1,9})c[0-9]{1,9}(n[0-9]{1,9})$`)
	// nqnPattern is what NVMe allows (at most 223 bytes), without the comma that
	// would end an option of /dev/nvme-fabrics.
	nqnPattern = lazyregexp.New(`^nqn\.[0-9]{4}-[0-9]{2}\.[!-+\--~]+$`).AtMost(223)
	identity   = lazyregexp.New(`^[0-9a-f]{32}$`)
)

// headOf returns the namespace that a path leads to: nvme0n1 of nvme0c1n1.
func headOf(path string) (string, bool) {
	m := pathName.FindStringSubmatch(path)
	if m == nil {
		return "", false
	}
	return m[1] + m[2], true
}

var errBadAttribute = errors.New("not what the kernel writes")

// cleanAttribute takes the line end from an attribute. Targets choose some of
// what is in there, so that nothing may pass that would forge a message.
func cleanAttribute(text []byte) (string, error) {
	s := strings.TrimRight(string(text), " \n")
	for _, r := range s {
		if r < ' ' || r > '~' {
			return "", fmt.Errorf("%q: %w", shorten(s), errBadAttribute)
		}
	}
	return s, nil
}

// shorten keeps a foreign text from filling a message.
func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
