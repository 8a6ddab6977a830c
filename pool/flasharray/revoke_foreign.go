package flasharray

import (
	"context"
	"fmt"
	"time"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// Where another host is fenced it may be asking for the volume at this moment,
// although nobody believes it: its claim is there, its connection comes. To take
// the claim away between the two would leave a connection that nobody knows of.

// foreign says whether a host is another than this one, which asks for itself
// and at one thing at a time. Without a session folder that cannot be known.
func (b *backend) foreign(h pool.Host) bool {
	_, self := b.self(h.ID)
	return !self && b.settings.SessionDir != ""
}

// inFlight is the age of a claim up to which its connection may still come: the
// request for one may be sent twice.
func (b *backend) inFlight() time.Duration {
	return slowGrant + 2*time.Duration(b.settings.CallTimeout)
}

// notAsking refuses to end a foreign host's claims where one is so young that
// its connection, which is missing, may still come.
func (b *backend) notAsking(h pool.Host, v volume, meant []claims.Claim) error {
	if !b.foreign(h) {
		return nil
	}
	for _, c := range meant {
		age := b.now().Sub(c.Asked())
		wait := b.inFlight() - age
		if wait > 2*b.inFlight() {
			continue // from the future: the clock of that host says nothing
		}
		if c.Place.Name != "" && c.Damaged == nil && wait > 0 {
			return fmt.Errorf("host %s asked for volume %s %s ago and is not connected yet, so its request may still be under way: "+
				"nothing was changed; if that host is dead, repeat this in %s",
				c.Holder.Host.Name, v.ArrayName, age.Round(time.Second), wait.Round(time.Second)+time.Second)
		}
	}
	return nil
}

// stillAsking says that a foreign host has a claim that was not there when its
// claims were ended: it lives, and may have a connection.
func (b *backend) stillAsking(ctx context.Context, r pool.RevokeRequest, v volume) error {
	tags, err := b.array.tags(ctx, v.ID)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.ledger(v).Again(r, claimsIn(tags))
}
