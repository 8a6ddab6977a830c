package dir

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

func (b *backend) resize(ctx context.Context, name string, sizeBytes int64) (out pool.Volume, err error) {
	want := b.RoundSize(sizeBytes)
	if want == math.MaxInt64 {
		return out, fmt.Errorf("%w: %d bytes are more than any file can have", pool.ErrNoSpace, sizeBytes)
	}
	root, err := b.openPool()
	if err != nil {
		return out, err
	}
	defer root.Close()
	err = withVolume(ctx, root, name, func(v *volume) error {
		if sizeBytes <= 0 || want < v.sizeBytes {
			return fmt.Errorf("%w: it has %s, asked were %s", pool.ErrShrink, units.FormatSize(v.sizeBytes), units.FormatSize(sizeBytes))
		}
		if err := v.grow(ctx, want); err != nil {
			return explain(err)
		}
		out = b.public(v)
		return nil
	})
	return out, err
}

// grow says first what it is about to do, so that a power cut at any moment
// leaves a file of one of two sizes that volume.json knows.
func (v *volume) grow(ctx context.Context, want int64) error {
	if want == v.meta.SizeBytes && v.meta.GrowingToBytes == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	before := v.meta
	before.SizeBytes, before.GrowingToBytes = v.sizeBytes, 0
	trying := before
	trying.GrowingToBytes = want
	if err := writeJSON(v.root, metaName, trying); err != nil {
		return err
	}
	if err := v.truncate(want); err != nil {
		return errors.Join(err, writeJSON(v.root, metaName, before))
	}
	done := before
	done.SizeBytes = want
	if err := writeJSON(v.root, metaName, done); err != nil {
		return err
	}
	v.meta, v.sizeBytes = done, want
	return nil
}

func (v *volume) truncate(sizeBytes int64) error {
	f, err := v.root.OpenFile(diskName, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(sizeBytes), f.Sync(), f.Close())
}
