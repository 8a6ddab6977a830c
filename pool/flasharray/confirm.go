package flasharray

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

var _ pool.Confirmer = (*backend)(nil)

// errNotConfirmed: a grant has to be asked for.
var errNotConfirmed = errors.New("the grant is not confirmed")

// Confirm implements pool.Confirmer. It reads the volume's tags: one call,
// where a grant takes four.
//
// A claim that was judged stands until somebody takes it away, and each that
// came later has seen it, and given way or is of the same domain. So if it is
// there, what the array was asked for when it was made still holds. A fencing
// that is just under way has perhaps ended the connection and not yet the claim;
// then the device goes, as it does when a host is fenced a moment later.
func (b *backend) Confirm(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	return call(ctx, b, "confirm", r.Volume, func(ctx context.Context) (pool.Connection, error) { return b.confirm(ctx, r) })
}

func (b *backend) confirm(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	if err := r.Validate(); err != nil {
		return pool.Connection{}, err
	}
	v, ok := b.seen.take(r.Volume, b.now())
	if !ok {
		return pool.Connection{}, fmt.Errorf("%w: this process has not looked at the volume", errNotConfirmed)
	}
	w, err := b.way(ctx, r.Host)
	if err != nil {
		return pool.Connection{}, err
	}
	c, err := b.connection(ctx, v, r.Host)
	if err != nil {
		return pool.Connection{}, err
	}
	notes, err := b.ledger(v).Board.Notes(ctx)
	if err != nil {
		return pool.Connection{}, err
	}
	mine, err := b.stands(r, v, w, notes)
	c.Lasting = c.Lasting || mine.Place.Mark == kept
	if err != nil {
		return pool.Connection{}, err
	}
	return c, nil
}

// stands finds the one claim that a grant of the request ends with. What a crash
// or a call under way has left beside it is a grant's to settle.
func (b *backend) stands(r pool.GrantRequest, v volume, w way, notes map[string]string) (mine claims.Claim, err error) {
	if marks := claims.Marks(notes); len(marks) > 0 {
		return mine, fmt.Errorf("%w: the volume is being deleted (tag %s)", errNotConfirmed, clip(marks[0]))
	}
	var own, others []claims.Claim
	for _, c := range claims.Read(notes) {
		if c.OfHost(r.Host.ID) {
			own = append(own, c)
		} else {
			others = append(others, c)
		}
	}
	if len(own) != 1 || !settled(own[0], r, w, notes) {
		return mine, fmt.Errorf("%w: the array has %d claims of this host, or one for something else", errNotConfirmed, len(own))
	}
	holders, err := b.ledger(v).Holders(others)
	if err != nil {
		return mine, err
	}
	return own[0], b.ledger(v).Conflict(r, holders)
}

// settled says whether a grant of the request would leave the claim's tag as it
// is.
func settled(c claims.Claim, r pool.GrantRequest, w way, notes map[string]string) bool {
	if c.Damaged != nil || c.Place.Mark == unsure {
		return false
	}
	want, err := claims.Claim{Key: c.Key, Place: claims.Place{Name: w.host, Mark: c.Place.Mark}, Holder: pool.Holder{
		Host: r.Host, Owner: r.Owner, Mode: r.Mode, Since: c.Holder.Since, BootID: r.BootID,
	}}.Value(maxValue)
	return err == nil && notes[c.Key] == want
}
