package flasharray

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// errStale: what was remembered of the volume is not true any more. It is a
// claims.ErrGone.
var errStale error = staleVolume{}

type staleVolume struct{}

func (staleVolume) Error() string        { return "the volume is not what was remembered of it" }
func (staleVolume) Is(target error) bool { return target == claims.ErrGone }

// announcement is a claim on its way.
type announcement struct {
	*claims.Announcement
	b       *backend
	request pool.GrantRequest
	volume  volume
}

func (b *backend) grant(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	if err := r.Validate(); err != nil {
		return pool.Connection{}, err
	}
	v, ok := b.seen.take(r.Volume, b.now())
	if !ok {
		var err error
		if v, err = b.find(ctx, r.Volume); err != nil {
			return pool.Connection{}, err
		}
	}
	c, err := b.grantTo(ctx, r, v)
	if !errors.Is(err, errStale) {
		return c, err
	}
	b.forget(v)
	if v, err = b.find(ctx, r.Volume); err != nil {
		return pool.Connection{}, err
	}
	if c, err = b.grantTo(ctx, r, v); errors.Is(err, errStale) {
		return pool.Connection{}, b.notFound("it was renamed or deleted just now", err)
	}
	return c, err
}

// grantTo claims the volume, then connects it: a crash between leaves a claim,
// never a connection that nobody returns.
func (b *backend) grantTo(ctx context.Context, r pool.GrantRequest, v volume) (pool.Connection, error) {
	w, err := b.way(ctx, r.Host)
	if err != nil {
		return pool.Connection{}, err
	}
	c, err := b.connection(ctx, v, r.Host)
	if err != nil {
		return pool.Connection{}, err
	}
	b.noteSelf(r.Host, w)
	a, err := b.announce(ctx, r, v, w)
	if err != nil {
		return pool.Connection{}, err
	}
	if err := a.ready(ctx); err != nil {
		return pool.Connection{}, err
	}
	got, came, err := b.connect(ctx, r, v, &w)
	if err != nil {
		return pool.Connection{}, b.unconnected(ctx, a, err)
	}
	c.NVMe.NSID = got.NSID
	a.Mine.Place.Name = w.host
	a.judgeConnection(came)
	// What may be somebody else's is left at the end, so its device stays.
	if a.Mine.Place.Mark != "" {
		c.Lasting = true
		b.note(keptKey(v))
	} else {
		b.forgetKey(keptKey(v))
	}
	return c, a.settle(ctx, came)
}

// announce writes a claim and judges it by the others. After *pool.HeldError the
// volume is as it was.
func (b *backend) announce(ctx context.Context, r pool.GrantRequest, v volume, w way) (*announcement, error) {
	at := claims.Place{Name: w.host}
	if w.host != "" && !b.free(v) {
		at.Mark = unsure
	}
	a, err := b.ledger(v).Announce(ctx, r, at)
	if err != nil {
		return nil, err
	}
	return &announcement{a, b, r, v}, nil
}

// keptKey is for who takes the device of a kept connection away: it stays. A
// revoke leaves it, for one that is repeated after a crash.
func keptKey(v volume) string { return "kept/" + v.ID }

// connect makes the connection. To a host group it is made once and for good,
// so it is remembered.
func (b *backend) connect(ctx context.Context, r pool.GrantRequest, v volume, w *way) (arrayConnection, connecting, error) {
	if w.group != "" {
		return arrayConnection{}, connMade, b.connectGroup(ctx, v)
	}
	c, came, err := b.array.connect(ctx, *w, v)
	if gone(err) {
		// The host or the volume; the claim showed that the volume was there.
		b.forgetHost(r.Host)
		if *w, err = b.way(ctx, r.Host); err != nil {
			return c, came, err
		}
		c, came, err = b.array.connect(ctx, *w, v)
	}
	if err == nil && c.Volume.ID != "" && c.Volume.ID != v.ID {
		return c, came, fmt.Errorf("the array connected volume %s (id %s) instead of %s: disconnect it there",
			clip(c.Volume.Name), clip(c.Volume.ID), v.ArrayName)
	}
	return c, came, err
}

func groupKey(v volume, group string) string { return "group/" + group + "/" + v.ID }

func (b *backend) connectGroup(ctx context.Context, v volume) error {
	w := way{group: b.place.hostGroup}
	if b.known(groupKey(v, w.group)) {
		return nil
	}
	_, _, err := b.array.connect(ctx, w, v)
	if err == nil {
		b.note(groupKey(v, w.group))
	}
	return err
}

// unconnected takes the claim back where the array refused the connection; if
// it is not known what happened the claim stays, for it covers the connection
// that there may be.
func (b *backend) unconnected(ctx context.Context, a *announcement, err error) error {
	if errors.Is(err, pool.ErrUnreachable) || ctx.Err() != nil {
		return err
	}
	return errors.Join(err, a.Withdraw(ctx))
}
