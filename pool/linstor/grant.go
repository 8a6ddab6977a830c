package linstor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

func (b *backend) grant(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	if err := r.Validate(); err != nil {
		return pool.Connection{}, err
	}
	for range tries {
		c, err := b.grantOnce(ctx, r)
		if !errors.Is(err, claims.ErrGone) {
			return c, err
		}
	}
	return pool.Connection{}, fmt.Errorf("others create and delete it at the same time: %w", claims.ErrGone)
}

// grantOnce claims the volume, then makes it available on the node, then lets
// the nodes that hold it write. The claim tells what has to be undone before it
// is done. For a guest that is only announced nobody beside its holder may write:
// the rest is done when it comes.
func (b *backend) grantOnce(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	v, err := b.find(ctx, r.Volume)
	if err != nil {
		return pool.Connection{}, err
	}
	at, err := b.deployed(ctx, v)
	if err != nil {
		return pool.Connection{}, err
	}
	node := b.node(r.Host)
	a, err := b.ledger(v).Announce(ctx, r, b.place(at, v.claims(), node))
	if err != nil {
		return pool.Connection{}, err
	}
	if err := b.clear(ctx, r, v, at, a); err != nil {
		return pool.Connection{}, err
	}
	beside := nodesOf(slices.DeleteFunc(slices.Clone(a.Others), a.Same), node)
	waits := r.Pending && r.Mode == pool.Handover && len(beside) > 0
	share := b.share
	if waits {
		share = b.mayShare
	}
	if err := b.provide(ctx, v, a.Mine, beside, share); err != nil {
		return pool.Connection{}, b.unprovided(ctx, v, a.Mine, err)
	}
	c := b.connection(v, at, r.Host)
	c.DRBD.Arriving, c.DRBD.Closed = r.Mode == pool.Handover, waits
	if err := b.leaveOthers(ctx, r, v, a); err != nil {
		return pool.Connection{}, err
	}
	return c, a.Settle(ctx)
}

// clear refuses a volume that somebody uses without a claim. A host that has
// just returned its grant may still have been using it when it was looked at, so
// that a suspicion is looked at again.
func (b *backend) clear(ctx context.Context, r pool.GrantRequest, v volume, at deployment, a *claims.Announcement) error {
	node := a.Mine.Place.Name
	if len(b.strangers(at, a.Others, node)) == 0 {
		return nil
	}
	at, err := b.deployed(ctx, v)
	if err != nil {
		return b.unprovided(ctx, v, a.Mine, err)
	}
	found := b.strangers(at, a.Others, node)
	if len(found) == 0 {
		return nil
	}
	return a.Refuse(ctx, usedByHand(&pool.HeldError{Pool: b.name, Volume: v.name, Holders: found, Request: &r}))
}

// provide makes the device be there, and shares the volume between this host's node
// and each of the others.
func (b *backend) provide(ctx context.Context, v volume, mine claims.Claim, others []string,
	share func(ctx context.Context, v volume, at deployment, x, y string) error) error {
	node := mine.Place.Name
	if err := b.linstor.MakeAvailable(ctx, v.resource(), node, b.settings.Diskful); err != nil {
		if errors.Is(err, rest.ErrNoNode) {
			return fmt.Errorf("the cluster has no node %s: set node = \"…\" to LINSTOR's name of this host (`linstor node list`): %w", node, err)
		}
		return gone(err)
	}
	if len(others) == 0 {
		return b.confirm(ctx, v, mine)
	}
	at, err := b.deployed(ctx, v)
	if err != nil {
		return err
	}
	for _, other := range others {
		if _, there := at.on(other); !there {
			// That host is leaving, or is not there yet and does this itself: of
			// two that are made available, one at least sees the other.
			continue
		}
		err := share(ctx, v, at, node, other)
		if err != nil && (errors.Is(err, claims.ErrGone) || !errors.Is(err, rest.ErrNotFound)) {
			return err
		}
		// Not on both nodes: that host has left just now, or this one was fenced.
		// confirm sees which, and switches off what is on.
	}
	return b.confirm(ctx, v, mine)
}

// confirm looks once more at what the claim was written to. Calls name a volume
// that somebody may have deleted by hand and made anew: then what was made for
// the claim is on the wrong one. And the other host may have returned its grant
// before it could see that two nodes were allowed to write, or a crash has left
// that on.
func (b *backend) confirm(ctx context.Context, v volume, mine claims.Claim) error {
	notes, err := b.board(v).Notes(ctx)
	if errors.Is(err, claims.ErrGone) {
		if _, left := b.vacate(ctx, v, []claims.Claim{mine}, nil); left != nil {
			return fmt.Errorf("%v; and its successor is left available on node %s: %w", err, mine.Place.Name, left)
		}
		return err
	}
	if err != nil {
		return err
	}
	if _, there := notes[mine.Key]; !there {
		return errors.New("the claim of this host was removed by somebody else just now: repeat the command")
	}
	maps.Copy(notes, pairNotes(v.notes))
	return b.unshareLast(ctx, v, notes)
}

// unprovided takes the claim back where the controller refused; if it is not
// known what happened the claim stays, for it covers what there may be. Who takes
// this host's claims away has taken those that were there before too, so that
// they are read anew.
func (b *backend) unprovided(ctx context.Context, v volume, mine claims.Claim, err error) error {
	if errors.Is(err, pool.ErrUnreachable) || ctx.Err() != nil || errors.Is(err, claims.ErrGone) {
		return err
	}
	notes, left := b.board(v).Notes(ctx)
	if left == nil {
		stay := slices.DeleteFunc(claims.Read(notes), func(c claims.Claim) bool { return c.Key == mine.Key })
		_, left = b.retire(ctx, v, []claims.Claim{mine}, stay)
	}
	if left != nil {
		return fmt.Errorf("%w; and the request could not be taken back, revoke it: %v", err, left)
	}
	return err
}

// leaveOthers takes the device from where this host held the volume for the same
// owner under another name of its node.
func (b *backend) leaveOthers(ctx context.Context, r pool.GrantRequest, v volume, a *claims.Announcement) error {
	var old, stay []claims.Claim
	for _, c := range a.Others {
		if a.Same(c) && c.Holder.Owner.UUID == r.Owner.UUID && !strings.EqualFold(c.Place.Name, a.Mine.Place.Name) {
			old = append(old, c)
		} else {
			stay = append(stay, c)
		}
	}
	if !slices.ContainsFunc(old, func(c claims.Claim) bool { return c.Place.Mark == made }) {
		return nil
	}
	_, err := b.vacate(ctx, v, old, append(stay, a.Mine))
	return err
}
