package flasharray

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// backend is one pool on one array. Several goroutines may use it.
type backend struct {
	name     string
	settings Settings
	place    place
	array    array
	now      func() time.Time
	log      *logrus.Entry
	seen     seen
	// locks is the folder of the locks by which the processes of this host find
	// out only once what the array is like; "": each finds out for itself.
	locks string
}

var (
	_ pool.Backend          = (*backend)(nil)
	_ pool.Provisioner      = (*backend)(nil)
	_ pool.CapacityReporter = (*backend)(nil)
	_ pool.Rounder          = (*backend)(nil)
	_ pool.Checker          = (*backend)(nil)
	_ pool.HeldLister       = (*backend)(nil)
)

// call runs f for a volume: a bad name reaches nothing, and the error says what
// was done to what.
func call[T any](ctx context.Context, b *backend, verb, name string, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := checkName(name); err != nil {
		return zero, fmt.Errorf("%s volume in pool %s: %w", verb, b.name, err)
	}
	v, err := f(ctx)
	if err != nil {
		return zero, fmt.Errorf("%s volume %s/%s: %w", verb, b.name, name, ended(ctx, err))
	}
	return v, nil
}

func run(ctx context.Context, b *backend, verb, name string, f func(context.Context) error) error {
	_, err := call(ctx, b, verb, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// whole is call for what concerns no single volume.
func whole[T any](ctx context.Context, b *backend, verb string, f func(context.Context) (T, error)) (T, error) {
	v, err := f(ctx)
	if err != nil {
		err = fmt.Errorf("%s pool %s: %w", verb, b.name, ended(ctx, err))
	}
	return v, err
}

// ended makes sure that an error says so when the caller's time was up.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// Lookup implements pool.Backend.
func (b *backend) Lookup(ctx context.Context, name string) (pool.Volume, error) {
	return call(ctx, b, "look up", name, func(ctx context.Context) (pool.Volume, error) {
		v, err := b.find(ctx, name)
		if errors.Is(err, pool.ErrNotFound) {
			return pool.Volume{}, b.unfinished(ctx, name, err)
		}
		if err != nil {
			return pool.Volume{}, err
		}
		return b.withCreation(ctx, v)
	})
}

// withCreation adds what only the tags know.
func (b *backend) withCreation(ctx context.Context, v volume) (pool.Volume, error) {
	tags, err := b.tags(ctx, v)
	if err != nil {
		return pool.Volume{}, err
	}
	return b.public(v, creationOf(tags)), nil
}

// tags of a volume that may be gone meanwhile.
func (b *backend) tags(ctx context.Context, v volume) ([]arrayTag, error) {
	tags, err := b.array.tags(ctx, v.ID)
	if gone(err) {
		return nil, fmt.Errorf("%w: %w", pool.ErrNotFound, err)
	}
	return tags, err
}

// LookupPath implements pool.Backend. CreationID is left out: it would be
// another call for every disk.
func (b *backend) LookupPath(ctx context.Context, path string) (pool.Volume, error) {
	whole, part := wholeDevice(path)
	serial, ok := b.place.transport.ParsePath(whole)
	if !ok {
		return pool.Volume{}, fmt.Errorf("%q in pool %s: %w", clip(path), b.name, pool.ErrNotFound)
	}
	v, err := b.bySerial(ctx, serial)
	if err != nil {
		return pool.Volume{}, fmt.Errorf("%s in pool %s: %w", path, b.name, ended(ctx, err))
	}
	if part {
		return pool.Volume{}, fmt.Errorf("%s is a partition of volume %s/%s, which another guest may have: give the guest the whole volume, %s",
			path, b.name, v.name, whole)
	}
	return b.public(v, ""), nil
}

// Connection implements pool.Backend.
func (b *backend) Connection(ctx context.Context, name string, host pool.Host) (pool.Connection, error) {
	return call(ctx, b, "reach", name, func(ctx context.Context) (pool.Connection, error) {
		if err := host.Validate(); err != nil {
			return pool.Connection{}, err
		}
		v, err := b.recall(ctx, name)
		if err != nil {
			return pool.Connection{}, err
		}
		return b.connection(ctx, v, host)
	})
}

// Grant implements pool.Backend.
func (b *backend) Grant(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	return call(ctx, b, "grant", r.Volume, func(ctx context.Context) (pool.Connection, error) { return b.grant(ctx, r) })
}

// Revoke implements pool.Backend.
func (b *backend) Revoke(ctx context.Context, r pool.RevokeRequest) error {
	return run(ctx, b, "revoke", r.Volume, func(ctx context.Context) error { return b.revoke(ctx, r) })
}

// Holders implements pool.Backend.
func (b *backend) Holders(ctx context.Context, name string) ([]pool.Holder, error) {
	return call(ctx, b, "list the holders of", name, func(ctx context.Context) ([]pool.Holder, error) {
		v, err := b.find(ctx, name)
		if err != nil {
			return nil, err
		}
		tags, err := b.tags(ctx, v)
		if err != nil {
			return nil, err
		}
		b.warnOfStrays(ctx, v, tags)
		return b.ledger(v).Holders(claimsIn(tags))
	})
}

// Create implements pool.Provisioner.
func (b *backend) Create(ctx context.Context, r pool.CreateRequest) (pool.Volume, error) {
	return call(ctx, b, "create", r.Name, func(ctx context.Context) (pool.Volume, error) { return b.create(ctx, r) })
}

// Resize implements pool.Provisioner.
func (b *backend) Resize(ctx context.Context, name string, sizeBytes int64) (pool.Volume, error) {
	return call(ctx, b, "resize", name, func(ctx context.Context) (pool.Volume, error) { return b.resize(ctx, name, sizeBytes) })
}

// Delete implements pool.Provisioner.
func (b *backend) Delete(ctx context.Context, name, creationID string) error {
	return run(ctx, b, "delete", name, func(ctx context.Context) error { return b.remove(ctx, deletion{name: name, creationID: creationID}) })
}

// DeleteExactly is Delete for who has shown a volume to somebody: one with
// another identity by now gives pool.ErrNotOurs and stays.
func (b *backend) DeleteExactly(ctx context.Context, v pool.Volume) error {
	return run(ctx, b, "delete", v.Name, func(ctx context.Context) error {
		return b.remove(ctx, deletion{name: v.Name, creationID: v.CreationID, identity: v.Identity})
	})
}

// notFound names what is missing, and where.
func (b *backend) notFound(why string, err error) error {
	if err == nil {
		return fmt.Errorf("%w: %s (array %s)", pool.ErrNotFound, why, b.array.Array())
	}
	return fmt.Errorf("%w: %s: %w", pool.ErrNotFound, why, err)
}

// refusal translates what the array says of space and numbers.
func refusal(err error) error {
	if errors.Is(err, rest.ErrLimit) {
		return fmt.Errorf("%w: %w", pool.ErrNoSpace, err)
	}
	return err
}
