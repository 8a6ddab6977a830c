package pooltest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

// Lossy is a backend on a bad line: every call is carried out, but the reply
// of the Lose-th one, counted from 1, is lost, and the caller sees only that
// its time is up.
type Lossy struct {
	Provider
	Lose  int
	Calls int
}

// errLost is what the caller of a lost call sees.
var errLost = fmt.Errorf("the reply was lost: %w", context.DeadlineExceeded)

func lossy[T any](l *Lossy, v T, err error) (T, error) {
	if l.Calls++; l.Calls == l.Lose {
		var zero T
		return zero, errLost
	}
	return v, err
}

// Lookup implements pool.Backend.
func (l *Lossy) Lookup(ctx context.Context, name string) (pool.Volume, error) {
	v, err := l.Provider.Lookup(ctx, name)
	return lossy(l, v, err)
}

// LookupPath implements pool.Backend.
func (l *Lossy) LookupPath(ctx context.Context, path string) (pool.Volume, error) {
	v, err := l.Provider.LookupPath(ctx, path)
	return lossy(l, v, err)
}

// List implements pool.Backend.
func (l *Lossy) List(ctx context.Context) ([]pool.Volume, error) {
	v, err := l.Provider.List(ctx)
	return lossy(l, v, err)
}

// Grant implements pool.Backend.
func (l *Lossy) Grant(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	c, err := l.Provider.Grant(ctx, r)
	return lossy(l, c, err)
}

// Revoke implements pool.Backend.
func (l *Lossy) Revoke(ctx context.Context, r pool.RevokeRequest) error {
	_, err := lossy(l, struct{}{}, l.Provider.Revoke(ctx, r))
	return err
}

// Holders implements pool.Backend.
func (l *Lossy) Holders(ctx context.Context, volume string) ([]pool.Holder, error) {
	h, err := l.Provider.Holders(ctx, volume)
	return lossy(l, h, err)
}

// Connection implements pool.Backend.
func (l *Lossy) Connection(ctx context.Context, volume string, host pool.Host) (pool.Connection, error) {
	c, err := l.Provider.Connection(ctx, volume, host)
	return lossy(l, c, err)
}

// Create implements pool.Provisioner.
func (l *Lossy) Create(ctx context.Context, r pool.CreateRequest) (pool.Volume, error) {
	v, err := l.Provider.Create(ctx, r)
	return lossy(l, v, err)
}

// Resize implements pool.Provisioner.
func (l *Lossy) Resize(ctx context.Context, name string, sizeBytes int64) (pool.Volume, error) {
	v, err := l.Provider.Resize(ctx, name, sizeBytes)
	return lossy(l, v, err)
}

// Delete implements pool.Provisioner.
func (l *Lossy) Delete(ctx context.Context, name, creationID string) error {
	_, err := lossy(l, struct{}{}, l.Provider.Delete(ctx, name, creationID))
	return err
}

// testLostReply loses the reply of each call in turn, and recovers as the
// contract says: by the same call again.
func testLostReply(t *testing.T, _ Fixture, b Provider) {
	for lose, done := 1, false; !done; lose++ {
		l := &Lossy{Provider: b, Lose: lose}
		again := func(call func() error) {
			t.Helper()
			err := call()
			if errors.Is(err, errLost) {
				err = call()
			}
			if err != nil {
				t.Fatalf("reply %d lost: %v", lose, err)
			}
		}
		name, ctx := fmt.Sprintf("vol%d", lose), t.Context()
		again(func() error {
			v, err := l.Create(ctx, pool.CreateRequest{Name: name, SizeBytes: mib, CreationID: "mine"})
			if err == nil && v.CreationID != "mine" {
				t.Errorf("not ours: %+v", v)
			}
			return err
		})
		again(func() error { return grant(ctx, l, name, kvm01, dom1, pool.Exclusive) })
		again(func() error { return grant(ctx, l, name, kvm02, dom1, pool.Handover) })
		wantHolds(t, b, name, "kvm01/web/exclusive kvm02/web/handover")
		again(func() error { return revoke(ctx, l, name, kvm01) })
		again(func() error { _, err := l.Resize(ctx, name, 8*mib); return err })
		again(func() error { return revoke(ctx, l, name, kvm02) })
		wantHolds(t, b, name, "")
		again(func() error { return l.Delete(ctx, name, "mine") })
		if _, err := b.Lookup(ctx, name); !errors.Is(err, pool.ErrNotFound) {
			t.Errorf("reply %d lost: in the end %v", lose, err)
		}
		done = l.Calls < lose
	}
}
