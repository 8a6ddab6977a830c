package flasharray

import (
	"context"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// What sizes Purity takes.
const (
	sectorBytes   = 512
	leastBytes    = units.MiB
	greatestBytes = 4096 * units.TiB
)

// RoundSize implements pool.Rounder. A size that no volume can have is
// math.MaxInt64.
func (b *backend) RoundSize(sizeBytes int64) int64 {
	switch {
	case sizeBytes <= leastBytes:
		return leastBytes
	case sizeBytes > greatestBytes:
		return math.MaxInt64
	}
	return (sizeBytes + sectorBytes - 1) / sectorBytes * sectorBytes
}

// sized is the size that a volume of at least sizeBytes has.
func (b *backend) sized(sizeBytes int64) (int64, error) {
	if sizeBytes <= 0 {
		return 0, fmt.Errorf("a volume of %d bytes is not possible; ask for 1 or more", sizeBytes)
	}
	size := b.RoundSize(sizeBytes)
	if size == math.MaxInt64 {
		return 0, fmt.Errorf("%w: %d bytes are more than a volume of a FlashArray can have (4 PiB)", pool.ErrNoSpace, sizeBytes)
	}
	return size, nil
}

// tries is how often a volume that others change at the same moment is looked
// at anew.
const tries = 4

// create makes the volume under a name that only this request has, writes whose
// it is, and gives it the wanted name last: so a volume of that name is whole,
// and after a lost reply at any point the same request finds what is there.
func (b *backend) create(ctx context.Context, r pool.CreateRequest) (pool.Volume, error) {
	size, err := b.sized(r.SizeBytes)
	if err != nil {
		return pool.Volume{}, err
	}
	if n := utf8.RuneCountInString(r.CreationID); n > maxValue {
		return pool.Volume{}, fmt.Errorf("a creation id of %d characters does not fit into a tag (%d)", n, maxValue)
	}
	b.seen.drop(r.Name)
	for range tries {
		v, err := b.createOnce(ctx, r, size)
		if err == nil {
			err = b.shown(ctx, v)
		}
		if !errors.Is(err, errStale) {
			return v, err
		}
	}
	return pool.Volume{}, fmt.Errorf("others create and delete it at the same time: %w", errStale)
}

func (b *backend) createOnce(ctx context.Context, r pool.CreateRequest, size int64) (pool.Volume, error) {
	v, err := b.existing(ctx, r)
	if !errors.Is(err, pool.ErrNotFound) {
		return v, err
	}
	if r.CreationID == "" {
		return b.createPlain(ctx, r.Name, size)
	}
	coming, err := b.begin(ctx, r, size)
	if err != nil {
		return pool.Volume{}, err
	}
	if err := b.array.putTags(ctx, coming.ID, newTag(creationKey, r.CreationID)); err != nil {
		return pool.Volume{}, stale(err)
	}
	made, err := b.array.rename(ctx, coming.ID, b.onArray(r.Name))
	switch {
	case errors.Is(err, rest.ErrExists):
		return b.beaten(ctx, r, coming)
	case err != nil:
		return pool.Volume{}, stale(err)
	}
	return b.created(made, r.CreationID)
}

// stale: somebody took the unfinished volume away, perhaps a Delete for the
// same request, or finished it.
func stale(err error) error {
	if gone(err) {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	return err
}

// existing settles a repeated request, or refuses a name that is taken.
func (b *backend) existing(ctx context.Context, r pool.CreateRequest) (pool.Volume, error) {
	a, err := b.array.volume(ctx, "names", b.onArray(r.Name))
	if gone(err) {
		return pool.Volume{}, pool.ErrNotFound
	}
	if err != nil {
		return pool.Volume{}, err
	}
	tags, err := b.array.tags(ctx, a.ID)
	if err != nil {
		return pool.Volume{}, stale(err)
	}
	if r.CreationID == "" || creationOf(tags) != r.CreationID || a.Name != b.onArray(r.Name) {
		return pool.Volume{}, b.taken(a.Name)
	}
	return b.created(a, r.CreationID)
}

func (b *backend) taken(arrayName string) error {
	return fmt.Errorf("%w: array %s has %s", pool.ErrExists, b.array.Array(), arrayName)
}

// begin makes the unfinished volume, or finds the one of an earlier attempt.
func (b *backend) begin(ctx context.Context, r pool.CreateRequest, size int64) (arrayVolume, error) {
	name := b.onArray(comingName(r.Name, r.CreationID))
	a, err := b.array.create(ctx, name, size, b.settings.DefaultProtection)
	if errors.Is(err, rest.ErrExists) || errors.Is(err, rest.ErrMaybeDone) && ctx.Err() == nil {
		found, look := b.array.volume(ctx, "names", name)
		if gone(look) && errors.Is(err, rest.ErrMaybeDone) {
			return arrayVolume{}, err
		}
		if look != nil {
			return arrayVolume{}, stale(look)
		}
		a, err = b.sizedAs(ctx, found, size)
	}
	if errors.Is(err, rest.ErrDestroyed) {
		return arrayVolume{}, fmt.Errorf("what is left of an earlier attempt blocks it: eradicate volume %s on the array: %w", name, err)
	}
	return a, refusal(err)
}

// sizedAs: the earlier attempt may have asked for less.
func (b *backend) sizedAs(ctx context.Context, a arrayVolume, size int64) (arrayVolume, error) {
	if a.Provisioned >= size {
		return a, nil
	}
	return b.array.patch(ctx, a.ID, change{Provisioned: &size})
}

// beaten: the wanted name came to be taken meanwhile, perhaps by this very
// volume, when the reply to its renaming was lost.
func (b *backend) beaten(ctx context.Context, r pool.CreateRequest, coming arrayVolume) (pool.Volume, error) {
	v, err := b.existing(ctx, r)
	if errors.Is(err, pool.ErrNotFound) {
		err = fmt.Errorf("%w: the name %s is taken, and no volume has it; a destroyed one keeps its name: eradicate or recover it on array %s",
			pool.ErrExists, b.onArray(r.Name), b.array.Array())
	}
	if !errors.Is(err, pool.ErrExists) {
		return v, err
	}
	if left := b.discard(ctx, comingName(r.Name, r.CreationID), coming); left != nil {
		return v, fmt.Errorf("%w; and volume %s is left there: %w", err, coming.Name, left)
	}
	return v, err
}

// createPlain is for a request without an id, of which nothing can be settled
// later: a volume of the name is whole at once.
func (b *backend) createPlain(ctx context.Context, name string, size int64) (pool.Volume, error) {
	a, err := b.array.create(ctx, b.onArray(name), size, b.settings.DefaultProtection)
	if errors.Is(err, rest.ErrExists) || errors.Is(err, rest.ErrDestroyed) {
		return pool.Volume{}, fmt.Errorf("%w: %w", pool.ErrExists, err)
	}
	if err != nil {
		return pool.Volume{}, refusal(err)
	}
	return b.created(a, "")
}

func (b *backend) created(a arrayVolume, creationID string) (pool.Volume, error) {
	v, ok := b.take(a)
	if !ok {
		return pool.Volume{}, fmt.Errorf("the array says that it made volume %s, which is not what was asked for", clip(a.Name))
	}
	b.remember(v)
	return b.public(v, creationID), nil
}

// shown connects the volume to the pool's host group, once and for good. It is
// errStale if somebody has deleted the volume meanwhile.
func (b *backend) shown(ctx context.Context, made pool.Volume) error {
	if b.place.hostGroup == "" {
		return nil
	}
	v, err := b.find(ctx, made.Name)
	if errors.Is(err, pool.ErrNotFound) {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	if err != nil {
		return err
	}
	return stale(b.connectGroup(ctx, v))
}

// resize never truncates.
func (b *backend) resize(ctx context.Context, name string, sizeBytes int64) (pool.Volume, error) {
	v, err := b.find(ctx, name)
	if err != nil {
		return pool.Volume{}, err
	}
	b.seen.drop(name)
	if sizeBytes < v.SizeBytes {
		return pool.Volume{}, shrinks(v.SizeBytes, sizeBytes)
	}
	size, err := b.sized(sizeBytes)
	if err != nil {
		return pool.Volume{}, err
	}
	if size > v.SizeBytes {
		if v, err = b.grow(ctx, v, size); err != nil {
			return pool.Volume{}, err
		}
	}
	return b.withCreation(ctx, v)
}

func shrinks(has, wanted int64) error {
	return fmt.Errorf("%w: it has %s, and %d bytes are asked for", pool.ErrShrink, units.FormatSize(has), wanted)
}

func (b *backend) grow(ctx context.Context, v volume, size int64) (volume, error) {
	a, err := b.array.patch(ctx, v.ID, change{Provisioned: &size})
	if err != nil {
		return volume{}, b.notGrown(ctx, v, size, err)
	}
	v.SizeBytes = a.Provisioned
	b.remember(v)
	return v, nil
}

// notGrown says why the array refused: somebody may have made the volume larger
// than that meanwhile, and may have deleted it since.
func (b *backend) notGrown(ctx context.Context, v volume, size int64, why error) error {
	if gone(why) {
		return b.notFound("it was deleted just now", why)
	}
	now, err := b.byID(ctx, v.ID)
	switch {
	case gone(err):
		return b.notFound("it was deleted just now", why)
	case err == nil && now.Provisioned > size:
		return shrinks(now.Provisioned, size)
	}
	return refusal(why)
}
