package linstor

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// resize lets the volume grow on all its nodes. An exact size stands in the way
// of that, so it goes; the device may become larger than asked for.
func (b *backend) resize(ctx context.Context, name string, sizeBytes int64) (pool.Volume, error) {
	v, err := b.find(ctx, name)
	if err != nil {
		return pool.Volume{}, err
	}
	if sizeBytes < v.bytes {
		return pool.Volume{}, shrinks(v.bytes, sizeBytes)
	}
	size, err := b.kib(sizeBytes)
	if err != nil || size*1024 <= v.bytes {
		return b.public(v), err
	}
	if err := b.grow(ctx, v, size); err != nil {
		return pool.Volume{}, err
	}
	v, err = b.find(ctx, name)
	return b.public(v), err
}

func (b *backend) grow(ctx context.Context, v volume, sizeKiB int64) error {
	if v.def.Props[exactSize] != "" {
		if err := b.linstor.ModifyDefinition(ctx, v.resource(), nil, exactSize); err != nil {
			return b.deletedMeanwhile(gone(err))
		}
	}
	err := b.linstor.ResizeVolume(ctx, v.resource(), sizeKiB)
	if err == nil || errors.Is(err, pool.ErrUnreachable) {
		return err
	}
	return b.notGrown(ctx, v, sizeKiB*1024, err)
}

// notGrown says why the controller refused: somebody may have made the volume
// larger than that meanwhile, and may have deleted it since.
func (b *backend) notGrown(ctx context.Context, v volume, sizeBytes int64, why error) error {
	now, err := b.find(ctx, v.name)
	switch {
	case errors.Is(err, pool.ErrNotFound):
		return fmt.Errorf("%w: %v", err, why)
	case err == nil && now.def.Uuid != v.def.Uuid:
		return b.notFound("it was deleted just now, and somebody made another of its name: %v", why)
	case err == nil && now.bytes > sizeBytes:
		return shrinks(now.bytes, sizeBytes)
	}
	return b.deletedMeanwhile(gone(why))
}

func (b *backend) deletedMeanwhile(err error) error {
	if errors.Is(err, claims.ErrGone) {
		return fmt.Errorf("%w: %w", pool.ErrNotFound, err)
	}
	return err
}

func shrinks(has, wanted int64) error {
	return fmt.Errorf("%w: it has %s, and %d bytes are asked for", pool.ErrShrink, units.FormatSize(has), wanted)
}
