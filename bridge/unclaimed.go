package bridge

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/domainxml"
)

// arrayAddresses are how a path says that it leads to a volume of an array,
// whether or not a pool is configured for that: what it begins with, and what
// stands somewhere in the rest.
var arrayAddresses = []struct{ begin, holds, array string }{
	{"/dev/disk/by-id/nvme-eui.00", "24a937", "a FlashArray"},
	{"/dev/disk/by-id/wwn-0x624a9370", "", "a FlashArray"},
	{"/dev/disk/by-id/dm-uuid-mpath-3624a9370", "", "a FlashArray"},
	{"/dev/mapper/3624a9370", "", "a FlashArray"},
}

// warnUnclaimed says of which disks the guest is not protected although they are
// volumes of an array: no pool of this host claims them, so they are an
// administrator's, or a pool is missing. They start like any disk that volbridge
// does not manage, and libvirt shows what a hook says only when it fails: so
// this goes into the journal.
func (b *Bridge) warnUnclaimed(doc *domainxml.Document, managed []Disk) {
	for _, x := range doc.Disks() {
		array := arrayOf(x.Source)
		if array == "" || slices.ContainsFunc(managed, func(d Disk) bool { return d.Target == x.Target }) {
			continue
		}
		b.log().WithFields(map[string]any{"domain": doc.Name(), "disk": x.Target}).
			Warnf("disk %s of domain %s is a volume of %s (%s) that no configured pool of host %s has: nothing keeps a second host from starting on it; "+
				"add the pool of that array and pod to volbridge's configuration", x.Target, doc.Name(), array, x.Source, b.Host.Name)
	}
}

// arrayOf is whose volume a path leads to, for people; "" where it does not say.
func arrayOf(source string) string {
	clean := strings.ToLower(filepath.Clean(source))
	for _, a := range arrayAddresses {
		if rest, is := strings.CutPrefix(clean, a.begin); is && strings.Contains(rest, a.holds) {
			return a.array
		}
	}
	return ""
}
