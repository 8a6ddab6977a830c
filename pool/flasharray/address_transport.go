package flasharray

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/lazyregexp"
)

// Transport is how hosts reach the array's volumes. It decides what a volume's
// device calls itself and where it is; nothing else of this package depends on
// it.
type Transport string

// The transports of a FlashArray.
const (
	NVMeTCP      Transport = "nvme-tcp"
	NVMeRoCE     Transport = "nvme-roce"
	NVMeFC       Transport = "nvme-fc"
	FibreChannel Transport = "fc"
	ISCSI        Transport = "iscsi"
)

// transports in the order in which they are listed to people.
var transports = []Transport{NVMeTCP, NVMeRoCE, NVMeFC, FibreChannel, ISCSI}

// errNoTransport: the array can, and volbridge cannot yet.
var errNoTransport = errors.New("volbridge cannot do this yet; it can do nvme-tcp")

// ParseTransport takes a name of the configuration; case does not matter.
func ParseTransport(name string) (Transport, error) {
	t := Transport(strings.ToLower(name))
	if !slices.Contains(transports, t) {
		names := make([]string, len(transports))
		for i, known := range transports {
			names[i] = string(known)
		}
		return "", fmt.Errorf("%q is no transport: one of %s", clip(name), strings.Join(names, ", "))
	}
	return t, nil
}

// Usable says whether volbridge can attach volumes this way.
func (t Transport) Usable() error {
	if t == NVMeTCP {
		return nil
	}
	return fmt.Errorf("%s: %w", t, errNoTransport)
}

// NVMe says whether volumes are namespaces; else they are SCSI disks.
func (t Transport) NVMe() bool { return t == NVMeTCP || t == NVMeRoCE || t == NVMeFC }

const (
	nvmeLink = "nvme-eui." // before a NGUID, in /dev/disk/by-id
	wwnLink  = "wwn-0x"    // before a WWN, in /dev/disk/by-id
	// multipath is what a multipath map is called before its WWN: the kind of
	// the identifier, which is 3 for NAA.
	multipath     = "3"
	multipathLink = "dm-uuid-mpath-" + multipath // before a WWN, in /dev/disk/by-id
	byID          = "/dev/disk/by-id"
	mapper        = "/dev/mapper"
)

// Identity is what the device of a volume says of itself.
func (t Transport) Identity(s Serial) blockdev.Identity {
	if t.NVMe() {
		return blockdev.Identity(s.NGUID())
	}
	return blockdev.Identity(s.WWN())
}

// Path is where the device of a volume is on every host: the link that udev
// makes for a namespace, or the multipath map of a SCSI disk.
func (t Transport) Path(s Serial) string {
	if t.NVMe() {
		return path.Join(byID, nvmeLink+s.NGUID())
	}
	return path.Join(mapper, multipath+s.WWN())
}

// ParsePath takes the path of a device back to the serial of its volume; ok is
// false for a path that no whole volume of this transport can have, like that of
// a partition. The digits may be in upper case, which udev does not make but
// people write.
func (t Transport) ParsePath(device string) (s Serial, ok bool) {
	for _, known := range t.links() {
		if digits, found := strings.CutPrefix(device, known.prefix); found {
			// Only bare digits: the prefixes that the parsers take belong to
			// other places.
			if isHex(digits) {
				s, err := known.parse(digits)
				return s, err == nil
			}
		}
	}
	return "", false
}

// partition ends the path of a partition, as udev makes it.
var partition = lazyregexp.New(`-part[0-9]+$`)

// wholeDevice is the path of the device that a path leads to a part of.
func wholeDevice(device string) (whole string, part bool) {
	if at := partition.FindIndex([]byte(device)); at != nil {
		return device[:at[0]], true
	}
	return device, false
}

// link is one kind of path: what is before the digits, and what they are.
type link struct {
	prefix string
	parse  func(string) (Serial, error)
}

func (t Transport) links() []link {
	if t.NVMe() {
		return []link{{byID + "/" + nvmeLink, ParseNGUID}}
	}
	return []link{
		{mapper + "/" + multipath, ParseWWN},
		{byID + "/" + wwnLink, ParseWWN},
		{byID + "/" + multipathLink, ParseWWN},
	}
}
