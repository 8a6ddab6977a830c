package flasharray

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// deletion is what is asked for: the volume of a name, if it has this creation
// id and this identity; empty: any.
type deletion struct {
	name, creationID string
	identity         blockdev.Identity
}

// remove deletes the volume of this name, what an earlier call that ended
// halfway left of one, and what a Create with this id left unfinished.
func (b *backend) remove(ctx context.Context, d deletion) error {
	for range tries {
		v, err := b.find(ctx, d.name)
		switch {
		case err == nil:
			b.forget(v)
			err = b.removeOne(ctx, d, v)
		case errors.Is(err, pool.ErrNotFound):
			err = b.removeRest(ctx, d)
		}
		if !errors.Is(err, errStale) {
			return err
		}
	}
	return fmt.Errorf("others create and delete it at the same time: %w", errStale)
}

func (b *backend) removeOne(ctx context.Context, d deletion, v volume) error {
	if err := b.deletable(ctx, d, v); err != nil {
		return err
	}
	return b.discard(ctx, d.name, arrayVolume{ID: v.ID, Name: v.ArrayName, Serial: string(v.Serial)})
}

// deletable refuses a volume that is held, that somebody else made, or that is
// not the one that was meant.
func (b *backend) deletable(ctx context.Context, d deletion, v volume) error {
	if is := b.place.transport.Identity(v.Serial); d.identity != "" && is != d.identity {
		return fmt.Errorf("%w: the name is another volume's by now: %s is %s, and not %s", pool.ErrNotOurs, v.ArrayName, is, d.identity)
	}
	tags, err := b.array.tags(ctx, v.ID)
	if err != nil {
		return stale(err)
	}
	if has := creationOf(tags); d.creationID != "" && has != d.creationID {
		return fmt.Errorf("%w: volume %s", pool.ErrNotOurs, v.ArrayName)
	}
	l := b.ledger(v)
	l.Volume = d.name // also where it is called otherwise on its way out
	return l.Unheld(notesOf(tags))
}

// discard destroys a volume that was judged. Like a grant it writes what it is
// about to do before it reads the claims, so that of a grant and a deletion at
// least one sees the other.
func (b *backend) discard(ctx context.Context, name string, a arrayVolume) error {
	l := b.ledger(volume{ID: a.ID, ArrayName: a.Name, name: name})
	mark, err := l.Mark(ctx)
	if err != nil {
		return err
	}
	err = b.discardMarked(ctx, mark, name, a)
	if err == nil || errors.Is(err, errStale) && !errors.Is(err, errGivenBack) || errors.Is(err, pool.ErrUnreachable) || ctx.Err() != nil {
		return err // repeating it goes on from here
	}
	return mark.Cancel(ctx, err)
}

// errGivenBack: somebody else found the volume held, and gave it its name back.
var errGivenBack = fmt.Errorf("its name was given back: %w", errStale)

func (b *backend) discardMarked(ctx context.Context, mark *claims.Leaving, name string, a arrayVolume) error {
	tags, err := b.array.tags(ctx, a.ID)
	if err != nil {
		return stale(err)
	}
	l := b.ledger(volume{ID: a.ID, ArrayName: a.Name, name: name})
	if err := l.Unheld(notesOf(tags)); err != nil {
		return err
	}
	serial, err := ParseSerial(a.Serial)
	if err != nil {
		return err
	}
	// The array keeps the name of a destroyed volume for as long as the volume.
	wanted := b.onArray(leavingName(name, serial))
	if _, err := b.array.rename(ctx, a.ID, wanted); err != nil {
		if err = b.renamed(ctx, a.ID, wanted, err); err != nil {
			return err
		}
	}
	// Until now another deletion may have taken the mark for a dead one's.
	if tags, err = b.array.tags(ctx, a.ID); err == nil {
		err = mark.Stands(notesOf(tags))
	}
	if err == nil {
		err = b.destroy(ctx, a.ID, wanted, creationOf(tags) != "")
	}
	switch {
	case err == nil:
		return b.eradicate(ctx, a.ID, wanted)
	case errors.Is(err, pool.ErrUnreachable) || errors.Is(err, errGivenBack) || ctx.Err() != nil:
		return err
	}
	return b.unrename(ctx, name, a, err)
}

// renamed: a lost reply makes the array refuse the same again, on some versions.
func (b *backend) renamed(ctx context.Context, id, wanted string, why error) error {
	if !errors.Is(why, rest.ErrExists) {
		return stale(why)
	}
	now, err := b.byID(ctx, id)
	if err == nil && now.Name == wanted {
		return nil
	}
	return errors.Join(why, err)
}

// unrename gives a volume that cannot be destroyed its name back.
func (b *backend) unrename(ctx context.Context, name string, a arrayVolume, why error) error {
	_, err := b.array.rename(ctx, a.ID, b.onArray(name))
	switch {
	case gone(err):
		return stale(err) // another deletion ended first
	case err != nil && b.renamed(ctx, a.ID, b.onArray(name), err) == nil:
		return why // or gave it its name back
	case err != nil:
		return fmt.Errorf("%v; and it could not get its name back: it is called %s now: %w",
			why, b.onArray(leavingPrefix(name)), err)
	}
	return why
}

// destroy takes a volume of ours that nobody holds from the pool's host group,
// and destroys it, both by the name that it has on its way out: so each change
// comes before the one that gives it its name back, or does nothing. The array
// refuses one that is connected otherwise: that is not volbridge's doing.
func (b *backend) destroy(ctx context.Context, id, arrayName string, ours bool) error {
	if b.place.hostGroup != "" && ours {
		b.forgetKey(groupKey(volume{ID: id, ArrayName: arrayName}, b.place.hostGroup))
		if _, err := b.array.disconnectNamed(ctx, way{group: b.place.hostGroup}, arrayName); err != nil {
			return err
		}
	}
	err := b.array.destroy(ctx, arrayName)
	if err == nil {
		return nil
	}
	if errors.Is(err, rest.ErrInUse) {
		return fmt.Errorf("hosts that volbridge did not connect can reach it; disconnect them first: %w", err)
	}
	// "has been deleted" is what some versions say of a destroyed one.
	switch now, look := b.byID(ctx, id); {
	case gone(look):
		return nil
	case gone(err) && look == nil && now.Name != arrayName:
		return fmt.Errorf("volume %s is called %s again: %w", arrayName, now.Name, errGivenBack)
	case gone(err):
		return errors.Join(err, look)
	}
	return err
}

// eradicate removes the data where that is wanted. SafeMode keeps them: that is
// its purpose, and the volume is deleted nevertheless.
func (b *backend) eradicate(ctx context.Context, id, arrayName string) error {
	if !b.settings.Eradicate {
		return nil
	}
	err := b.array.eradicate(ctx, id)
	switch {
	case errors.Is(err, rest.ErrEradicationDisabled):
		b.log.WithError(err).Warnf("volume %s of pool %s is deleted, but the array does not eradicate it: its space comes back when the array's time for that is over",
			arrayName, b.name)
		return nil
	case gone(err):
		return nil
	}
	return err
}
