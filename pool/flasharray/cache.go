package flasharray

import (
	"context"
	"path/filepath"

	"github.com/volbridge/volbridge/internal/lockfile"
)

// once returns what the processes of this host know under key, or finds it out.
// Of many that start at once only one asks the array.
func once[T any](ctx context.Context, b *backend, key string, find func(context.Context) (T, error)) (T, error) {
	var v T
	if _, ok := b.array.Cache().Load(key, &v); ok {
		return v, nil
	}
	unlock, err := b.lock(ctx, key)
	if err != nil {
		return v, err
	}
	defer unlock()
	if _, ok := b.array.Cache().Load(key, &v); ok {
		return v, nil
	}
	if v, err = find(ctx); err == nil {
		b.cacheFailed(b.array.Cache().Store(key, v))
	}
	return v, err
}

// lock keeps others from finding out the same at the same time. Without it
// everybody would ask, which does no harm.
func (b *backend) lock(ctx context.Context, key string) (unlock func(), err error) {
	if b.locks == "" {
		return func() {}, nil
	}
	release, err := lockfile.Acquire(ctx, filepath.Join(b.locks, "flasharray-"+digest(b.name, key)[:16]+".lock"))
	switch {
	case err == nil: // a free lock is taken also when the time is up
		return func() { b.cacheFailed(release()) }, nil
	case ctx.Err() != nil:
		return nil, err
	}
	b.cacheFailed(err)
	return func() {}, nil
}

// note and known remember that something is so.
func (b *backend) note(key string) { b.cacheFailed(b.array.Cache().Store(key, true)) }

func (b *backend) known(key string) (yes bool) {
	_, ok := b.array.Cache().Load(key, &yes)
	return ok && yes
}

func (b *backend) forgetKey(key string) { b.cacheFailed(b.array.Cache().Forget(key)) }
