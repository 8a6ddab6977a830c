package drbd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/bounded"
	"github.com/volbridge/volbridge/pool"
)

// call runs f for a volume: a bad name reaches nothing, and the error says what
// was done to what.
func call[T any](ctx context.Context, b *backend, verb, name string, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := checkName(name); err != nil {
		return zero, fmt.Errorf("%s volume in pool %s: %w", verb, b.name, err)
	}
	v, err := bounded.Do(ctx, f)
	if err != nil {
		return zero, fmt.Errorf("%s volume %s/%s: %w", verb, b.name, name, err)
	}
	return v, nil
}

// Lookup implements pool.Backend.
func (b *backend) Lookup(ctx context.Context, name string) (pool.Volume, error) {
	return call(ctx, b, "look up", name, func(ctx context.Context) (pool.Volume, error) { return b.lookup(ctx, name) })
}

// LookupPath implements pool.Backend. A path by minor is not ours: minors may
// differ from host to host.
func (b *backend) LookupPath(ctx context.Context, path string) (pool.Volume, error) {
	name, ours := nameOf(path)
	if !ours || !b.matches(name) {
		return pool.Volume{}, fmt.Errorf("%s in pool %s: %w", path, b.name, pool.ErrNotFound)
	}
	return b.Lookup(ctx, name)
}

// nameOf is the resource that a path is the path of.
func nameOf(path string) (name string, ours bool) {
	const before = "/dev/drbd/by-res/"
	rest, ours := strings.CutPrefix(path, before)
	name, number, _ := strings.Cut(rest, "/")
	return name, ours && number == fmt.Sprint(volumeNumber) && checkName(name) == nil && path == blockdev.DRBDPath(name, volumeNumber)
}

// List implements pool.Backend. Resources that are not up, or that the pool
// cannot serve, make an error beside the others.
func (b *backend) List(ctx context.Context) ([]pool.Volume, error) {
	volumes, err := bounded.Do(ctx, b.list)
	if err != nil {
		err = fmt.Errorf("list pool %s: %w", b.name, err)
	}
	return volumes, err
}

// Connection implements pool.Backend.
func (b *backend) Connection(ctx context.Context, name string, host pool.Host) (pool.Connection, error) {
	return call(ctx, b, "reach", name, func(ctx context.Context) (pool.Connection, error) {
		if err := host.Validate(); err != nil {
			return pool.Connection{}, err
		}
		if _, err := b.resource(ctx, name); err != nil {
			return pool.Connection{}, err
		}
		return b.reach(ctx, name, host)
	})
}

// reach is the way to a volume. What this host holds it can return, even if
// somebody took the resource down.
func (b *backend) reach(ctx context.Context, name string, host pool.Host) (pool.Connection, error) {
	_, d, down := b.up(ctx, name)
	if down != nil {
		rec, err := b.read(name)
		if err != nil || len(rec.Grants) == 0 || rec.SizeBytes == 0 {
			return pool.Connection{}, errors.Join(down, err)
		}
		v := pool.Volume{Name: name, Identity: blockdev.DRBDIdentity(name, volumeNumber), SizeBytes: rec.SizeBytes}
		d.Minor = -1
		return b.connection(v, d, host), nil
	}
	v, err := b.volumeOf(name, d)
	return b.connection(v, d, host), err
}

// Grant implements pool.Backend.
func (b *backend) Grant(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	return call(ctx, b, "grant", r.Volume, func(ctx context.Context) (pool.Connection, error) { return b.grant(ctx, r) })
}

// Revoke implements pool.Backend.
func (b *backend) Revoke(ctx context.Context, r pool.RevokeRequest) error {
	_, err := call(ctx, b, "revoke", r.Volume, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.revoke(ctx, r) })
	return err
}

// Holders implements pool.Backend. Of a peer it says that it is Primary; of one
// that is not connected nobody knows, so it counts as a holder too.
func (b *backend) Holders(ctx context.Context, name string) ([]pool.Holder, error) {
	return call(ctx, b, "list the holders of", name, func(ctx context.Context) ([]pool.Holder, error) {
		r, err := b.resource(ctx, name)
		if err != nil {
			return nil, err
		}
		return b.holders(ctx, r)
	})
}

// HeldBy implements pool.HeldLister: what this host wrote down.
func (b *backend) HeldBy(ctx context.Context, hostID string) ([]pool.Held, error) {
	held, err := bounded.Do(ctx, func(context.Context) ([]pool.Held, error) { return b.heldBy(hostID) })
	if err != nil {
		err = fmt.Errorf("list what pool %s has granted here: %w", b.name, err)
	}
	return held, err
}

func (b *backend) heldBy(hostID string) ([]pool.Held, error) {
	names, err := b.recorded()
	if err != nil {
		return nil, err
	}
	var held []pool.Held
	var wrong []error
	for _, name := range names {
		rec, err := b.read(name)
		wrong = append(wrong, err)
		for _, h := range rec.holders() {
			if h.Host.ID == hostID {
				held = append(held, pool.Held{Volume: name, Holder: h})
			}
		}
	}
	return held, errors.Join(wrong...)
}

// Check implements pool.Checker. One resource that is down keeps no other from
// working.
func (b *backend) Check(ctx context.Context) error {
	all, err := bounded.Do(ctx, b.resources)
	if err == nil && len(all) == 0 {
		err = errors.New("no DRBD resource of this pool is configured for this host: see /etc/drbd.d, and the key resources of the pool")
	}
	if err == nil {
		_, err = b.tools.States(ctx)
	}
	if err != nil {
		return fmt.Errorf("check pool %s: %w", b.name, err)
	}
	return nil
}
