package flasharray

import (
	"context"
	"slices"

	"github.com/volbridge/volbridge/pool/claims"
)

// settle makes the claim the only one of its host and owner. Unlike
// claims.Announcement.Settle it leaves an earlier one that says all, which saves
// a call: whoever fences this host ends the connection before the claims, so that
// the connection tells whether he is at it.
func (a *announcement) settle(ctx context.Context, came connecting) error {
	own, left := a.Before()
	switch {
	case came == connMade && a.Mine.Place.Name != "" && slices.ContainsFunc(a.Others, a.sameHost):
		// There was no connection although an earlier claim spoke of one. Perhaps
		// somebody is ending this host's claims just now, the new one with them, and
		// will remove what was seen of them: so the claim gets another key.
		own = append(own, a.Renew())
	case len(own) == 1 && len(left) == 0 && a.sameAs(own[0]):
		return a.Withdraw(ctx) // what was there says it all
	}
	return a.Update(ctx, left, own)
}

// sameAs says whether the tag of another claim would not change but for its key.
func (a *announcement) sameAs(c claims.Claim) bool {
	want, err := a.Mine.Value(maxValue)
	has, err2 := c.Value(maxValue)
	return err == nil && err2 == nil && want == has
}
