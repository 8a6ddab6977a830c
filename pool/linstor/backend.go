package linstor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/linstor/rest"
	"github.com/volbridge/volbridge/pool/settings"
)

// backend is one pool on one cluster. Several goroutines may use it.
type backend struct {
	name     string
	settings Settings
	linstor  *rest.Client
	now      func() time.Time
	log      *logrus.Entry
}

var (
	_ pool.Backend          = (*backend)(nil)
	_ pool.Provisioner      = (*backend)(nil)
	_ pool.CapacityReporter = (*backend)(nil)
	_ pool.Rounder          = (*backend)(nil)
	_ pool.Checker          = (*backend)(nil)
	_ pool.HostChecker      = (*backend)(nil)
	_ pool.HeldLister       = (*backend)(nil)
)

// tries is how often a volume that others change at the same moment is looked at
// anew.
const tries = 8

// about runs f for a volume: a bad name reaches nothing, and the error says what
// was done to what.
func about[T any](ctx context.Context, b *backend, verb, name string, f func() (T, error)) (T, error) {
	var zero T
	if err := b.checkName(name); err != nil {
		return zero, fmt.Errorf("%s volume in pool %s: %w", verb, b.name, err)
	}
	v, err := f()
	if err != nil {
		return zero, fmt.Errorf("%s volume %s/%s: %w", verb, b.name, name, ended(ctx, err))
	}
	return v, nil
}

// whole is about for what concerns no single volume. A part may come with an
// error.
func whole[T any](ctx context.Context, b *backend, verb string, f func() (T, error)) (T, error) {
	v, err := f()
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

type nothing = struct{}

// Lookup implements pool.Backend.
func (b *backend) Lookup(ctx context.Context, name string) (pool.Volume, error) {
	return about(ctx, b, "look up", name, func() (pool.Volume, error) {
		v, err := b.find(ctx, name)
		return b.public(v), err
	})
}

// LookupPath implements pool.Backend.
func (b *backend) LookupPath(ctx context.Context, path string) (pool.Volume, error) {
	name, ok := b.parsePath(path)
	if !ok {
		return pool.Volume{}, fmt.Errorf("%q in pool %s: %w", settings.Clip(path), b.name, pool.ErrNotFound)
	}
	return b.Lookup(ctx, name)
}

// Connection implements pool.Backend.
func (b *backend) Connection(ctx context.Context, name string, h pool.Host) (pool.Connection, error) {
	return about(ctx, b, "reach", name, func() (pool.Connection, error) {
		if err := h.Validate(); err != nil {
			return pool.Connection{}, err
		}
		v, err := b.find(ctx, name)
		if err != nil {
			return pool.Connection{}, err
		}
		at, err := b.deployed(ctx, v)
		if err != nil {
			return pool.Connection{}, err
		}
		return b.connection(v, at, h), nil
	})
}

// Grant implements pool.Backend.
func (b *backend) Grant(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	return about(ctx, b, "grant", r.Volume, func() (pool.Connection, error) { return b.grant(ctx, r) })
}

// Revoke implements pool.Backend.
func (b *backend) Revoke(ctx context.Context, r pool.RevokeRequest) error {
	_, err := about(ctx, b, "revoke", r.Volume, func() (nothing, error) { return nothing{}, b.revoke(ctx, r) })
	return err
}

// Holders implements pool.Backend. A node that uses the volume without a claim
// is a holder too.
func (b *backend) Holders(ctx context.Context, name string) ([]pool.Holder, error) {
	return about(ctx, b, "list the holders of", name, func() ([]pool.Holder, error) {
		v, err := b.find(ctx, name)
		if err != nil {
			return nil, err
		}
		at, err := b.deployed(ctx, v)
		if err != nil {
			return nil, err
		}
		holders, err := b.ledger(v).Holders(v.claims())
		if err != nil {
			return nil, err
		}
		holders = append(holders, b.strangers(at, v.claims(), "")...)
		pool.SortHolders(holders)
		return holders, nil
	})
}

// Create implements pool.Provisioner.
func (b *backend) Create(ctx context.Context, r pool.CreateRequest) (pool.Volume, error) {
	return about(ctx, b, "create", r.Name, func() (pool.Volume, error) { return b.create(ctx, r) })
}

// Resize implements pool.Provisioner.
func (b *backend) Resize(ctx context.Context, name string, sizeBytes int64) (pool.Volume, error) {
	return about(ctx, b, "resize", name, func() (pool.Volume, error) { return b.resize(ctx, name, sizeBytes) })
}

// Delete implements pool.Provisioner.
func (b *backend) Delete(ctx context.Context, name, creationID string) error {
	_, err := about(ctx, b, "delete", name, func() (nothing, error) { return nothing{}, b.remove(ctx, name, creationID) })
	return err
}
