package flasharray

import (
	"context"
	"slices"

	"github.com/volbridge/volbridge/pool/claims"
)

// settle makes the claim the only one of its host and owner. Unlike
// claims.Announcement.Settle it leaves an earlier one that says all, which saves
// a call, where the connection tells that nobody is ending that one.
func (a *announcement) settle(ctx context.Context, came connecting) error {
	own, left := a.Before()
	switch {
	case a.stood(came):
		if len(own) == 1 && len(left) == 0 && a.sameAs(own[0]) {
			return a.Withdraw(ctx) // what was there says it all
		}
	case len(own) > 0 || came != connExisted && a.Mine.Place.Name != "" && slices.ContainsFunc(a.Others, a.sameHost):
		// Perhaps somebody is ending this host's claims just now, the new one with
		// them, and will remove what was seen of them; or the array has yet to carry
		// out a call that returns an earlier one, whose caller has given it up. So the
		// claim gets another key.
		own = append(own, a.Renew())
	}
	return a.Update(ctx, left, own)
}

// stood says whether this grant found a connection that is its own: whoever ends
// a claim ends such a connection first, so that the claim which speaks of it is
// nothing that anybody asked the array to remove before. One of a host group, of
// an administrator, or that may be his, stays when claims end, and tells nothing;
// so does one that the claim of another host of this NVMe name speaks of too.
func (a *announcement) stood(came connecting) bool {
	others := func(c claims.Claim) bool { return a.sameHost(c) && !a.Same(c) }
	return came == connExisted && a.Mine.Place.Name != "" && a.Mine.Place.Mark == "" && !slices.ContainsFunc(a.Others, others)
}

// sameAs says whether the tag of another claim would not change but for its key.
func (a *announcement) sameAs(c claims.Claim) bool {
	want, err := a.Mine.Value(maxValue)
	has, err2 := c.Value(maxValue)
	return err == nil && err2 == nil && want == has
}
