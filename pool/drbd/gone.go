package drbd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/pool"
)

// A person may say that a peer is dead, and then it stands in nobody's way. It
// may come back and be lost again, with a guest, and this host need not notice:
// DRBD tells how a connection is and not how it was. So what was said counts
// until a look finds the peer connected, and no longer than goneFor after the
// last look that found it not. While this host is Primary alone it counts on, for
// the kernel keeps a peer that comes back from becoming Primary too.

// goneFor is longer than fencing a host and starting its guests here takes.
const goneFor = 15 * time.Minute

// sinceBoot is a clock that nobody sets, and as old as the record can be.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 1<<63 - 1 // nothing said before counts
	}
	return time.Duration(t.Nano())
}

// back forgets that peers were dead which are connected again, or may have been.
func (rec record) back(v view, now time.Duration) record {
	alone := len(rec.Grants) > 0 && v.state.Role == drbdtools.Primary && !v.two
	if age := now - rec.GoneAt; !alone && (age < 0 || age > goneFor) {
		rec.Gone = nil
	}
	rec.Gone = slices.DeleteFunc(slices.Clone(rec.Gone), func(name string) bool {
		return slices.ContainsFunc(v.peers, func(p peer) bool { return p.name == name && p.connected })
	})
	return rec
}

// renewed is the record with what a look says of the peers that were called dead.
// Where this host has the volume and two primaries are allowed, one may have come
// and taken the guest: then nothing that was said counts.
func (b *backend) renewed(v view) record {
	rec := v.rec
	if v.two && len(rec.Grants) > 0 {
		rec.Gone = nil
	}
	if len(rec.Gone) > 0 {
		rec.GoneAt = b.sinceBoot()
	}
	return rec
}

// stillGone is renewed for a host that is about to leave, and may be unable to
// look.
func (b *backend) stillGone(ctx context.Context, rec record) record {
	if len(rec.Gone) == 0 {
		return rec
	}
	r, err := b.configured(ctx, rec.Volume)
	if err != nil {
		return rec
	}
	v, err := b.look(ctx, r)
	if err != nil {
		return rec
	}
	return b.renewed(v)
}

// revokePeer is fencing by hand: a person says that a peer is dead. One that is
// connected can be asked instead.
func (b *backend) revokePeer(ctx context.Context, r pool.RevokeRequest) error {
	name := strings.TrimPrefix(r.Host.ID, peerID)
	res, err := b.resource(ctx, r.Volume)
	if err != nil {
		return err
	}
	v, err := b.look(ctx, res)
	if err != nil {
		return err
	}
	for _, p := range v.peers {
		switch {
		case p.name != name:
		case p.connected && p.primary:
			return fmt.Errorf("host %s is alive, connected and Primary: run `volbridge recover` there, or: drbdadm secondary %s", name, r.Volume)
		case !p.connected:
			rec := v.rec
			if !slices.Contains(rec.Gone, name) {
				rec.Gone = append(rec.Gone, name)
			}
			rec.GoneAt = b.sinceBoot()
			return b.write(rec)
		}
	}
	return nil
}
