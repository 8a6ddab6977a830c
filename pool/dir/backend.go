package dir

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/bounded"
	"github.com/volbridge/volbridge/pool"
)

// call runs f for a volume: a bad name reaches nothing, a hanging file server
// holds nobody up, and the error says what was done to what.
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

func run(ctx context.Context, b *backend, verb, name string, f func(context.Context) error) error {
	_, err := call(ctx, b, verb, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// Lookup implements pool.Backend.
func (b *backend) Lookup(ctx context.Context, name string) (pool.Volume, error) {
	return call(ctx, b, "look up", name, func(context.Context) (pool.Volume, error) {
		return withOpen(b, name, b.public)
	})
}

// LookupPath implements pool.Backend. The only path of a volume is its link in
// /dev/volbridge: a path to the raw file would bypass direct I/O and grants.
func (b *backend) LookupPath(ctx context.Context, path string) (pool.Volume, error) {
	name, ours := strings.CutPrefix(path, blockdev.StablePath(b.name, "")+"/")
	if !ours || checkName(name) != nil {
		return pool.Volume{}, fmt.Errorf("%s in pool %s: %w", path, b.name, pool.ErrNotFound)
	}
	return b.Lookup(ctx, name)
}

// Connection implements pool.Backend.
func (b *backend) Connection(ctx context.Context, name string, host pool.Host) (pool.Connection, error) {
	return call(ctx, b, "reach", name, func(context.Context) (pool.Connection, error) {
		if err := host.Validate(); err != nil {
			return pool.Connection{}, err
		}
		return withOpen(b, name, func(v *volume) pool.Connection { return b.connection(v, host) })
	})
}

// withOpen reads a volume without its lock.
func withOpen[T any](b *backend, name string, f func(*volume) T) (T, error) {
	var zero T
	root, err := b.openPool()
	if err != nil {
		return zero, err
	}
	defer root.Close()
	v, err := openVolume(root, name)
	if err != nil {
		return zero, err
	}
	defer v.close()
	return f(v), nil
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
	return call(ctx, b, "list the holders of", name, func(context.Context) ([]pool.Holder, error) { return b.holders(name) })
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
	return run(ctx, b, "delete", name, func(ctx context.Context) error { return b.remove(ctx, name, creationID) })
}

// RoundSize implements pool.Rounder. A size that no file can have is
// math.MaxInt64.
func (b *backend) RoundSize(sizeBytes int64) int64 {
	if sizeBytes <= 0 {
		return b.granularity
	}
	units := (sizeBytes-1)/b.granularity + 1
	if units > math.MaxInt64/b.granularity {
		return math.MaxInt64
	}
	return units * b.granularity
}

// pooled runs f with the pool's directory, for calls without a volume.
func pooled[T any](ctx context.Context, b *backend, verb string, open func() (*os.Root, error), f func(*os.Root) (T, error)) (T, error) {
	v, err := bounded.Do(ctx, func(context.Context) (T, error) {
		var zero T
		root, err := open()
		if err != nil {
			return zero, err
		}
		defer root.Close()
		return f(root)
	})
	if err != nil {
		err = fmt.Errorf("%s pool %s: %w", verb, b.name, err)
	}
	return v, err
}

// List implements pool.Backend. Folders and files that are not ours do not
// show; a damaged volume makes an error beside those that are whole.
func (b *backend) List(ctx context.Context) ([]pool.Volume, error) {
	return pooled(ctx, b, "list", b.openPool, b.list)
}

func (b *backend) list(root *os.Root) ([]pool.Volume, error) {
	names, err := list(root)
	if err != nil {
		return nil, err
	}
	var volumes []pool.Volume
	var wrong []error
	for _, name := range names {
		if checkName(name) != nil || !looksLikeVolume(root, name) {
			continue
		}
		v, err := openVolume(root, name)
		switch {
		case errors.Is(err, pool.ErrNotFound):
		case err != nil:
			wrong = append(wrong, fmt.Errorf("volume %s: %w", name, err))
		default:
			volumes = append(volumes, b.public(v))
			v.close()
		}
	}
	return volumes, errors.Join(wrong...)
}

func looksLikeVolume(root *os.Root, name string) bool {
	_, meta := root.Lstat(filepath.Join(name, metaName))
	_, disk := root.Lstat(filepath.Join(name, diskName))
	return meta == nil || disk == nil
}

// Capacity implements pool.CapacityReporter: that of the file system, which
// others may fill too.
func (b *backend) Capacity(ctx context.Context) (pool.Capacity, error) {
	return pooled(ctx, b, "measure", b.openPool, func(root *os.Root) (pool.Capacity, error) {
		s, err := b.statfs(root)
		return pool.Capacity{TotalBytes: int64(s.Blocks) * s.Frsize, FreeBytes: int64(s.Bavail) * s.Frsize}, err
	})
}

func (b *backend) statfs(root *os.Root) (s unix.Statfs_t, err error) {
	f, err := root.Open(".")
	if err != nil {
		return s, explain(err)
	}
	defer f.Close()
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return s, explain(fmt.Errorf("statfs %s: %w", b.path, err))
	}
	return s, nil
}

// Init implements pool.Initialiser.
func (b *backend) Init(ctx context.Context) error {
	_, err := pooled(ctx, b, "initialise", b.openDir, func(root *os.Root) (struct{}, error) { return struct{}{}, b.mark(ctx, root) })
	return err
}

// Check implements pool.Checker.
func (b *backend) Check(ctx context.Context) error {
	_, err := pooled(ctx, b, "check", b.openPool, func(root *os.Root) (struct{}, error) { return struct{}{}, b.check(root) })
	return err
}

func (b *backend) check(root *os.Root) error {
	if err := b.writable(root); err != nil {
		return err
	}
	_, err := b.list(root)
	return err
}

func (b *backend) writable(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return explain(err)
	}
	defer f.Close()
	if err := unix.Faccessat(int(f.Fd()), ".", unix.R_OK|unix.W_OK|unix.X_OK, 0); err != nil {
		return explain(fmt.Errorf("write in %s: %w", b.path, err))
	}
	return nil
}
