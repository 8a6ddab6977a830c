package linstor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

func (b *backend) revoke(ctx context.Context, r pool.RevokeRequest) error {
	if err := r.Validate(); err != nil {
		return err
	}
	v, err := b.find(ctx, r.Volume)
	if errors.Is(err, pool.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	meant, stay, err := b.ledger(v).Split(r, v.claims())
	if err != nil {
		return err
	}
	left, err := b.retire(ctx, v, meant, stay)
	if err != nil {
		return err
	}
	if err := b.ledger(v).Again(r, left); err != nil {
		return err
	}
	return claims.OtherBoot(r, stay)
}

// retire ends what claims stand for, and the claims then: after a crash they
// still tell what there is to undo. That two nodes may write ends last, and its
// note tells of it: a host that is fenced while it switches that on would do so
// once more. It returns the claims that are left.
func (b *backend) retire(ctx context.Context, v volume, meant, stay []claims.Claim) (left []claims.Claim, err error) {
	if len(meant) == 0 {
		// There is no claim, so no silence may say that the grant stands.
		return stay, pool.Changed(b.unshareLast(ctx, v, v.notes))
	}
	missing, err := b.vacate(ctx, v, meant, stay)
	if err != nil {
		return nil, err
	}
	if err := b.board(v).Drop(ctx, claims.Keys(meant)...); err != nil {
		return nil, err
	}
	left, err = b.settleRetired(ctx, v, missing)
	return left, pool.Changed(err)
}

// settleRetired looks at the claims once more. A host that is fenced may have
// been asking: what was missing when its claim was seen may have come while the
// claim was still there, and what comes later the host takes away itself; see
// confirm. And another host may have allowed two nodes to write because it still
// saw a claim that has gone. Of the two, one at least sees what the other did.
func (b *backend) settleRetired(ctx context.Context, v volume, missing []claims.Claim) (left []claims.Claim, err error) {
	notes, err := b.board(v).Notes(ctx)
	if errors.Is(err, claims.ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	left = claims.Read(notes)
	if _, err := b.vacate(ctx, v, missing, left); err != nil {
		return nil, err
	}
	maps.Copy(notes, pairNotes(v.notes))
	return left, b.unshareLast(ctx, v, notes)
}

// vacate takes the device from the nodes of claims that made it, unless one that
// stays needs it there. It returns the claims whose device was missing.
func (b *backend) vacate(ctx context.Context, v volume, meant, stay []claims.Claim) (missing []claims.Claim, err error) {
	clients := slices.DeleteFunc(slices.Clone(meant), func(c claims.Claim) bool {
		return c.Place.Mark != made || slices.ContainsFunc(stay, func(o claims.Claim) bool { return strings.EqualFold(o.Place.Name, c.Place.Name) })
	})
	if len(clients) == 0 {
		return nil, nil
	}
	at, err := b.deployed(ctx, v)
	if err != nil {
		return nil, err
	}
	for _, node := range nodesOf(clients) {
		if !at.removable(node) {
			continue
		}
		if err := b.linstor.DeleteResource(ctx, v.resource(), node); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(clients, func(c claims.Claim) bool { return at.removable(c.Place.Name) }), nil
}
