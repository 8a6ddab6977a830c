package pooltest

import (
	"context"
	"errors"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

// initialise makes the pool of a backend that has to be made one.
func initialise(ctx context.Context, b Provider) error {
	if i, ok := b.(pool.Initialiser); ok {
		return i.Init(ctx)
	}
	return nil
}

// testInit: before Init nothing is known and nothing is made; then many make
// the pool at once, and a later Init changes nothing.
func testInit(t *testing.T, f Fixture) {
	b := f.backend(t)
	if _, ok := b.(pool.Initialiser); !ok {
		t.Skip("the backend needs no Init")
	}
	wantNoPool(t, b)
	if got := race(t, f, "init", racers); got[won] != racers {
		t.Errorf("answers %v; all must find the pool", got)
	}
	before, err := b.List(t.Context())
	if err != nil || len(before) != racers {
		t.Fatalf("of %d volumes there are %+v, %v", racers, before, err)
	}
	name := before[0].Name
	must(t, grant(t.Context(), b, name, kvm01, dom1, pool.Exclusive))
	for range 2 {
		must(t, initialise(t.Context(), b))
	}
	for _, v := range before {
		if still, err := b.Lookup(t.Context(), v.Name); err != nil || still != v {
			t.Errorf("volume %+v became %+v, %v", v, still, err)
		}
	}
	wantHolds(t, b, name, "kvm01/web/exclusive")
}

// wantNoPool fails unless every call says that the place is no pool.
func wantNoPool(t *testing.T, b Provider) {
	t.Helper()
	calls := eachCall(t, b, "vol1")
	_, calls["Create"] = b.Create(t.Context(), pool.CreateRequest{Name: "vol1", SizeBytes: mib, CreationID: "x"})
	_, calls["List"] = b.List(t.Context())
	if c, ok := b.(pool.Checker); ok {
		calls["Check"] = c.Check(t.Context())
	}
	for what, err := range calls {
		if !errors.Is(err, pool.ErrNoPool) || errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%s before Init: %v", what, err)
		}
	}
}
