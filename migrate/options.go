package migrate

import (
	"fmt"
	"strings"
	"time"
)

// Options is what the administrator asked for.
type Options struct {
	Domain  string // name, UUID or id on the source
	DestURI string

	ToPool string                // every disk that must be copied, or sits in another pool, goes there
	Disks  map[string]DiskTarget // target → where it goes
	Leave  []string              // targets that the administrator vouches for: the destination sees the same data at the same path

	RemoveSource bool
	StallLimit   time.Duration // give up when nothing moves for so long; 0: never
	Tuning       Tuning
}

// DiskTarget is the place for one disk.
type DiskTarget struct {
	Pool   string
	Volume string // empty: a name is made from the domain's and the disk's
}

// ParseDiskTarget reads TARGET=POOL[/VOLUME].
func ParseDiskTarget(s string) (target string, to DiskTarget, err error) {
	target, place, ok := strings.Cut(s, "=")
	to.Pool, to.Volume, _ = strings.Cut(place, "/")
	if !ok || target == "" || to.Pool == "" || (strings.Contains(place, "/") && to.Volume == "") {
		return "", DiskTarget{}, fmt.Errorf("%q does not say where a disk goes: write TARGET=POOL or TARGET=POOL/VOLUME, for example vda=fast", s)
	}
	return target, to, nil
}
