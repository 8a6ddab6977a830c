package linstor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

// remove deletes the volume of this name, or what a Create left of one.
func (b *backend) remove(ctx context.Context, name, creationID string) error {
	for range tries {
		d, err := b.linstor.Definition(ctx, b.resource(name))
		if errors.Is(err, rest.ErrNoDefinition) {
			return nil
		}
		if err != nil {
			return err
		}
		v := volume{name: name, def: d, notes: notesOf(d)}
		if d.Name != b.resource(name) || !strings.EqualFold(d.ResourceGroupName, b.settings.ResourceGroup) {
			return nil // not a volume of this pool
		}
		if slices.Contains(d.Flags, deleting) {
			return nil // the controller goes on as soon as all its nodes are online
		}
		if err := v.meant(creationID); err != nil {
			return err
		}
		if err := b.discard(ctx, v); !errors.Is(err, claims.ErrGone) {
			return err
		}
	}
	return fmt.Errorf("others create and delete it at the same time: %w", claims.ErrGone)
}

// meant refuses to delete a volume that is not the one with this creation id, or
// what was shown of one that was not finished.
func (v volume) meant(creationID string) error {
	switch {
	case creationID == "" || creationID == v.creation() || creationID == v.unfinished():
		return nil
	case strings.HasPrefix(creationID, unfinishedNote):
		return fmt.Errorf("%w: resource definition %s was finished meanwhile, or is another by now: look at it again", pool.ErrNotOurs, v.def.Name)
	case strings.HasPrefix(creationID, byHand):
		return fmt.Errorf("%w: the name is another volume's by now: resource definition %s was deleted, and made again", pool.ErrNotOurs, v.def.Name)
	}
	return fmt.Errorf("%w: resource definition %s", pool.ErrNotOurs, v.def.Name)
}

// discard deletes a definition that was judged, with its replicas, unless
// somebody holds it. claims.ErrGone: somebody else has deleted it.
func (b *backend) discard(ctx context.Context, v volume) error {
	if err := b.unheld(v); err != nil {
		return err
	}
	mark, err := b.ledger(v).Leave(ctx)
	if err != nil {
		return err
	}
	err = b.linstor.DeleteDefinition(ctx, v.resource())
	switch {
	case err == nil || errors.Is(err, rest.ErrNotFound):
		return nil
	case errors.Is(err, pool.ErrUnreachable) || ctx.Err() != nil:
		return err // repeating it goes on from here
	case errors.Is(err, rest.ErrInUse):
		err = b.inUse(ctx, v, err)
	}
	return mark.Cancel(ctx, err)
}

func (b *backend) unheld(v volume) error {
	holders, err := b.ledger(v).Holders(v.claims())
	if err == nil && len(holders) > 0 {
		err = &pool.HeldError{Pool: b.name, Volume: v.name, Holders: holders}
	}
	return err
}

// inUse names the nodes on which somebody uses a volume that nobody has claimed.
func (b *backend) inUse(ctx context.Context, v volume, why error) error {
	at, err := b.deployed(ctx, v)
	if err != nil {
		return fmt.Errorf("%w; and on which nodes is not known: %v", why, err)
	}
	if found := b.strangers(at, nil, ""); len(found) > 0 {
		return usedByHand(&pool.HeldError{Pool: b.name, Volume: v.name, Holders: found})
	}
	return why
}
