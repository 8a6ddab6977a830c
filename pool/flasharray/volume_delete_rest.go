package flasharray

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// removeRest: no volume has the name. What a crash left is finished.
func (b *backend) removeRest(ctx context.Context, d deletion) error {
	leaving, err := b.leaving(ctx, d.name)
	if err != nil {
		return err
	}
	for _, v := range leaving {
		if err := b.deletable(ctx, d, v); err != nil {
			if errors.Is(err, errStale) || errors.Is(err, pool.ErrNotOurs) {
				continue
			}
			if errors.Is(err, pool.ErrUnreachable) || ctx.Err() != nil {
				return err
			}
			return b.giveBack(ctx, d.name, v, err)
		}
		b.log.Warnf("finishing the deletion of volume %s/%s, which ended halfway and left it as %s on array %s",
			b.name, d.name, v.ArrayName, b.array.Array())
		if err := b.finish(ctx, v); err != nil {
			return err
		}
	}
	if d.creationID == "" {
		return nil
	}
	coming := comingName(d.name, d.creationID)
	a, err := b.array.volume(ctx, "names", b.onArray(coming))
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err = b.discard(ctx, coming, a); errors.Is(err, errStale) && !errors.Is(err, errGivenBack) {
		return nil
	}
	return err
}

// giveBack gives a volume that must not be deleted its name back, and takes
// away what says that it is being deleted.
func (b *backend) giveBack(ctx context.Context, name string, v volume, why error) error {
	err := b.unrename(ctx, name, arrayVolume{ID: v.ID}, why)
	tags, left := b.array.tags(ctx, v.ID)
	if left == nil {
		left = b.array.dropTags(ctx, v.ID, claims.Marks(notesOf(tags))...)
	}
	if left != nil {
		return fmt.Errorf("%w; and its tags may still say that it is being deleted: %w", err, left)
	}
	return err
}

func (b *backend) finish(ctx context.Context, v volume) error {
	tags, err := b.array.tags(ctx, v.ID)
	if gone(err) {
		return nil
	}
	if err == nil {
		err = b.destroy(ctx, v.ID, v.ArrayName, creationOf(tags) != "")
	}
	if err != nil {
		return err
	}
	return b.eradicate(ctx, v.ID, v.ArrayName)
}

// leaving are the volumes that were called so, and whose deletion did not end.
func (b *backend) leaving(ctx context.Context, name string) ([]volume, error) {
	var list []volume
	for a, err := range b.array.volumes(ctx, equals("name", b.onArray(leavingPrefix(name))+"*")) {
		if err != nil {
			return nil, err
		}
		if v, ok := b.take(a); ok && a.check() == nil {
			list = append(list, v)
		}
	}
	return list, nil
}

// unfinished adds to "no such volume" that its deletion ended halfway, and that
// the array has it under another name.
func (b *backend) unfinished(ctx context.Context, name string, missing error) error {
	leaving, err := b.leaving(ctx, name)
	if err != nil {
		b.log.WithError(err).Debugf("whether a deletion of volume %s/%s ended halfway is not known", b.name, name)
	}
	if len(leaving) == 0 {
		return missing
	}
	v := leaving[0]
	found := b.public(v, "")
	found.Name = name
	return &UnfinishedDeletionError{Volume: found, text: fmt.Sprintf("its deletion ended halfway, and array %s has it as %s: "+
		"delete it again to finish that", b.array.Array(), v.ArrayName), err: missing}
}

// UnfinishedDeletionError is a pool.ErrNotFound: a deletion of the volume began,
// and did not end.
type UnfinishedDeletionError struct {
	Volume pool.Volume // as it was
	text   string
	err    error
}

func (e *UnfinishedDeletionError) Error() string { return e.text }
func (e *UnfinishedDeletionError) Unwrap() error { return e.err }

// Unfinished is the volume, for who must not know this package.
func (e *UnfinishedDeletionError) Unfinished() pool.Volume { return e.Volume }
