package claims

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/volbridge/volbridge/pool"
)

const (
	// recent is the age up to which a claim may be one that is just being
	// refused, and a mark one of a deletion that goes on.
	recent = 10 * time.Second
	// patience is how long a request waits for such claims to go: who makes them
	// may be on a busy machine.
	patience   = recent
	firstLook  = 20 * time.Millisecond
	slowestWay = 200 * time.Millisecond
)

// Announcement is a claim that nobody stood in the way of. It holds the volume
// already; Settle says so for good, Withdraw takes it back.
type Announcement struct {
	Mine   Claim
	Others []Claim           // all other claims, as of the last look
	Notes  map[string]string // all notes, as of the last look

	ledger  Ledger
	request pool.GrantRequest
	written Claim // Mine as the board has it
}

// Announce writes a claim and judges it by the others. After *pool.HeldError
// the board is as it was. ErrGone: the volume is not there, nor is the claim.
// After pool.ErrUnreachable the claim may be there.
func (l Ledger) Announce(ctx context.Context, r pool.GrantRequest, p Place) (*Announcement, error) {
	now := l.Now()
	a := &Announcement{ledger: l, request: r, Mine: Claim{
		Key: NewKey(r.Host.ID, now), Place: p,
		Holder: pool.Holder{Host: r.Host, Owner: r.Owner, Mode: r.Mode, Since: now, BootID: r.BootID},
	}}
	if err := a.Update(ctx, nil, nil); err != nil {
		return nil, err
	}
	if err := a.Judge(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// Update writes Mine if it is not written as it is, and more claims, and then
// removes those that have ended.
func (a *Announcement) Update(ctx context.Context, more, ended []Claim) error {
	if a.Mine != a.written {
		more = append([]Claim{a.Mine}, more...)
	}
	if len(more) == 0 {
		return a.ledger.Board.Drop(ctx, Keys(ended)...)
	}
	notes := map[string]string{}
	for _, c := range more {
		value, err := c.Value(a.ledger.MaxValue)
		if err != nil {
			return err
		}
		notes[c.Key] = value
	}
	if err := a.ledger.Board.Write(ctx, notes, Keys(ended)...); err != nil {
		return err
	}
	a.written = a.Mine
	return nil
}

// Judge reads all claims until it is clear whether this one may stay. If it may
// not, it is taken back.
func (a *Announcement) Judge(ctx context.Context) error {
	deadline, pause := time.NewTimer(patience), firstLook
	defer deadline.Stop()
	for {
		err := a.look(ctx)
		if err == nil || errors.Is(err, pool.ErrUnreachable) {
			return err
		}
		if !a.mayYield(err) || !tick(ctx, pause, deadline.C) {
			return a.refused(ctx, err)
		}
		pause = min(2*pause, slowestWay)
	}
}

// tick waits for d; false means that the time is up. Another host's note gives
// no event, so it is asked for again.
func tick(ctx context.Context, d time.Duration, deadline <-chan time.Time) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-deadline:
	case <-ctx.Done():
	}
	return false
}

// look reads the claims once.
func (a *Announcement) look(ctx context.Context) error {
	notes, err := a.ledger.Board.Notes(ctx)
	if err != nil {
		return err
	}
	found := Read(notes)
	own := slices.IndexFunc(found, func(c Claim) bool { return c.Key == a.Mine.Key })
	if own < 0 {
		return errors.New("the claim of this host was removed by somebody else just now: repeat the command")
	}
	if marks := Marks(notes); len(marks) > 0 {
		return fmt.Errorf("%w: it is being deleted; if nobody does, repeat the deletion, or %s",
			pool.ErrNotFound, a.ledger.Remedy(clip(marks[0])))
	}
	a.Others, a.Notes = slices.Delete(found, own, own+1), notes
	holders, err := a.ledger.Holders(a.Others)
	if err != nil {
		return err
	}
	return a.ledger.Conflict(a.request, holders)
}

// mayYield says whether all who are in the way came at the same time and will
// give way to this one.
func (a *Announcement) mayYield(err error) bool {
	var held *pool.HeldError
	if !errors.As(err, &held) {
		return false
	}
	for _, c := range a.Others {
		if len(a.request.Conflicts([]pool.Holder{c.Holder})) == 0 {
			continue
		}
		if age := a.Mine.Holder.Since.Sub(c.Holder.Since).Abs(); age > recent || nonce(c.Key) < nonce(a.Mine.Key) {
			return false
		}
	}
	return true
}

// refused takes the claim back and returns why. If that fails it is no
// *pool.HeldError, which would mean that nothing was changed; and no
// pool.ErrUnreachable either, because the storage has answered, and who takes
// the refusal for silence may start beside the holder.
func (a *Announcement) refused(ctx context.Context, why error) error {
	err := a.Withdraw(ctx)
	if err == nil {
		return why
	}
	const text = "; the request could not be taken back, revoke it: %v"
	var held *pool.HeldError
	if errors.As(why, &held) || errors.Is(why, ErrGone) {
		return fmt.Errorf("%v"+text, why, err)
	}
	return fmt.Errorf("%w"+text, why, err)
}

// Refuse takes the claim back because of something that the storage said, and
// returns why, which is no *pool.HeldError any more if the claim is still there.
func (a *Announcement) Refuse(ctx context.Context, why error) error { return a.refused(ctx, why) }

// Withdraw takes the claim back.
func (a *Announcement) Withdraw(ctx context.Context) error {
	return a.ledger.Board.Drop(ctx, a.Mine.Key)
}

// Same says whether a claim is of the host that asks, in this boot or in the one
// that its own record names.
func (a *Announcement) Same(c Claim) bool {
	h, r := c.Holder, a.request
	return h.Host.ID == r.Host.ID && (h.BootID == r.BootID || r.PriorBootID != "" && h.BootID == r.PriorBootID)
}

// Settle makes the claim, which may have another Place now, the only one of its
// host and owner. It holds since the earliest of them. What this host held for
// other owners before its last boot becomes of this boot.
//
// Where there was an earlier claim this one gets a new key: somebody who fences
// this host just now has seen the claims under their keys, and may remove them at
// any moment. So neither stays as what this grant stands for.
func (a *Announcement) Settle(ctx context.Context) error {
	own, left := a.Before()
	if len(own) > 0 {
		own = append(own, a.Renew())
	}
	return a.Update(ctx, left, own)
}

// Before are the earlier claims of this host: for the same owner, and for others
// from another boot, with this boot written in. Mine holds since the earliest of
// the former from now on.
func (a *Announcement) Before() (own, left []Claim) {
	for _, c := range a.Others {
		switch {
		case !a.Same(c):
		case c.Holder.Owner.UUID == a.request.Owner.UUID:
			own = append(own, c)
			if c.Holder.Since.Before(a.Mine.Holder.Since) {
				a.Mine.Holder.Since = c.Holder.Since
			}
		case c.Holder.BootID != a.request.BootID:
			c.Holder.BootID = a.request.BootID
			left = append(left, c)
		}
	}
	return own, left
}

// Renew gives Mine a new key, and returns it as it was before.
func (a *Announcement) Renew() Claim {
	was := a.Mine
	a.Mine.Key = NewKey(a.request.Host.ID, a.ledger.Now())
	return was
}
