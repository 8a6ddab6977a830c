package drbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/pool"
)

// grant judges, writes down what it is about to do, and promotes this host: not
// beside another one before the guest really comes.
func (b *backend) grant(ctx context.Context, q pool.GrantRequest) (c pool.Connection, err error) {
	if err := q.Validate(); err != nil {
		return c, err
	}
	r, err := b.resource(ctx, q.Volume)
	if err != nil {
		return c, err
	}
	release, err := b.lock(ctx, q.Volume)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if c, err = b.reach(ctx, q.Volume, q.Host); err != nil {
		return c, err
	}
	v, err := b.look(ctx, r)
	if err != nil {
		return c, err
	}
	if err := b.judge(q, v); err != nil {
		return pool.Connection{}, err
	}
	if v, err = b.takeOver(ctx, v); err != nil {
		return pool.Connection{}, err
	}
	next := b.renewed(v).with(q, b.now())
	next.SizeBytes = c.SizeBytes
	if err := b.write(next); err != nil {
		return pool.Connection{}, err
	}
	c.DRBD.Arriving = q.Mode == pool.Handover && len(primaries(v.peers)) > 0
	if c.DRBD.Arriving && q.Pending {
		c.DRBD.Closed = true
		return c, nil
	}
	if err := b.promote(ctx, q, v); err != nil {
		return pool.Connection{}, b.backOut(ctx, v, err)
	}
	return c, nil
}

// takeOver ends a promotion that no grant explains: somebody did it by hand, or
// DRBD 9 for who opened the device past volbridge. The kernel refuses it while
// anything has the device open, and so finds a guest that uses the device by a
// path that volbridge does not know. Nothing is written down until then.
func (b *backend) takeOver(ctx context.Context, v view) (view, error) {
	if v.state.Role != drbdtools.Primary || len(v.rec.Grants) > 0 {
		return v, nil
	}
	if err := b.demote(ctx, v.res.Name); err != nil {
		return v, fmt.Errorf("this host is Primary, and not by volbridge: %w", err)
	}
	v.state.Role = "Secondary"
	return v, nil
}

// view is all that is known of a resource at one moment.
type view struct {
	res   drbdtools.Resource
	state drbdtools.State
	peers []peer
	rec   record
	two   bool // two primaries are allowed now
}

func (b *backend) look(ctx context.Context, r drbdtools.Resource) (v view, err error) {
	v.res = r
	if v.state, _, err = b.up(ctx, r.Name); err != nil {
		return v, err
	}
	if v.peers, err = b.peersOf(r, v.state); err != nil {
		return v, err
	}
	if v.two, err = b.tools.TwoPrimariesAllowed(ctx, v.state); err != nil {
		return v, err
	}
	v.rec, err = b.read(r.Name)
	v.rec = v.rec.back(v, b.sinceBoot())
	return v, err
}

// judge refuses a request before anything is changed.
func (b *backend) judge(q pool.GrantRequest, v view) error {
	if others := q.Conflicts(v.rec.holders()); len(others) > 0 {
		return b.held(q, others)
	}
	if others := b.inTheWay(q, v); len(others) > 0 {
		return b.held(q, others)
	}
	if err := v.state.Usable(volumeNumber, q.Mode == pool.Handover && len(primaries(v.peers)) > 0); err != nil {
		return err
	}
	for _, p := range v.peers {
		if p.silent(v.rec) {
			return b.silentError(v.res.Name, p)
		}
	}
	return nil
}

// inTheWay are the peers that the mode does not tolerate. What a peer is Primary
// for is not known: a Handover takes it for the host that the domain comes
// from, which is one and not two, and Multi for a Multi holder if two primaries are allowed, which an
// Exclusive one sees to that they are not.
func (b *backend) inTheWay(q pool.GrantRequest, v view) []pool.Holder {
	found := primaries(v.peers)
	if q.Mode == pool.Handover && len(found) == 1 || q.Mode == pool.Multi && v.two {
		return nil
	}
	return found
}

func (b *backend) held(q pool.GrantRequest, by []pool.Holder) error {
	return &pool.HeldError{Pool: b.name, Volume: q.Volume, Holders: by, Request: &q}
}

// promote makes this host Primary, with or without another one.
func (b *backend) promote(ctx context.Context, q pool.GrantRequest, v view) error {
	name := v.res.Name
	beside := q.Mode == pool.Multi || q.Mode == pool.Handover && len(primaries(v.peers)) > 0
	var err error
	switch {
	case beside && !v.two:
		err = b.letIn(ctx, q, v)
	case !beside && v.two:
		// Left over. While it is on, the kernel keeps nobody apart.
		_, err = b.forbid(ctx, v.res)
	}
	if err != nil {
		return err
	}
	if err := b.tools.Primary(ctx, name); err != nil {
		return b.refusal(ctx, q, v, err)
	}
	if beside {
		// Others may be there, and whoever opens the device sees that this host is
		// Primary: nothing to look at while two may write.
		return nil
	}
	return b.confirm(ctx, q, v)
}

// letIn allows two primaries. Who shares the volume was alone when it was judged,
// and a host that started a guest at that moment did not see two allowed: either
// it sees that when it looks again, or it is Primary now and seen here.
func (b *backend) letIn(ctx context.Context, q pool.GrantRequest, v view) error {
	if err := b.tools.AllowTwoPrimaries(ctx, v.res.Name); err != nil || q.Mode != pool.Multi {
		return err
	}
	now, err := b.look(ctx, v.res)
	if err != nil {
		return err
	}
	by := primaries(now.peers)
	if len(by) == 0 {
		return nil
	}
	if _, err := b.forbid(ctx, v.res); err != nil {
		return fmt.Errorf("host %s became Primary at the same moment, and two primaries stay allowed; revoke this grant: %w", by[0].Host.Name, err)
	}
	return b.held(q, by)
}

// refusal tells that the kernel kept two hosts apart from everything else.
func (b *backend) refusal(ctx context.Context, q pool.GrantRequest, v view, err error) error {
	if !drbdtools.Answered(err, drbdtools.TwoPrimaries) {
		return err
	}
	now, lookErr := b.look(ctx, v.res)
	if by := primaries(now.peers); lookErr == nil && len(by) > 0 && q.Mode != pool.Handover {
		return b.held(q, by)
	}
	return fmt.Errorf("%w; a peer became Primary, or forbade two primaries, at the same moment: repeat the command", errors.Join(err, lookErr))
}

// confirm asks the kernel whether this host is Primary alone. Two may have been
// allowed by a peer just before.
func (b *backend) confirm(ctx context.Context, q pool.GrantRequest, v view) error {
	now, err := b.look(ctx, v.res)
	if err != nil {
		return err
	}
	if now.state.Role != drbdtools.Primary {
		return fmt.Errorf("drbdadm primary %s succeeded, but the kernel says that this host is %s", v.res.Name, now.state.Role)
	}
	if by := primaries(now.peers); len(by) > 0 {
		return b.held(q, by)
	}
	if now.two {
		return fmt.Errorf("a peer allowed two primaries of DRBD resource %s at the same moment: repeat the command", v.res.Name)
	}
	return nil
}

// backOut puts back what a refused grant changed, so that *pool.HeldError keeps
// its word: nothing was changed. After any other error the record stays, for
// Revoke.
func (b *backend) backOut(ctx context.Context, before view, err error) error {
	var held *pool.HeldError
	if !errors.As(err, &held) {
		return err
	}
	undo := func() error {
		if before.state.Role != drbdtools.Primary {
			if err := b.tools.Secondary(ctx, before.res.Name); err != nil {
				return err
			}
		}
		return b.write(before.rec)
	}
	if failed := undo(); failed != nil {
		return fmt.Errorf("%v; it could not be taken back, revoke it: %w", err, failed)
	}
	return err
}
