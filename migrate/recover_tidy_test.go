package migrate

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volbridge/volbridge/pool"
)

// untidy is a pool that left something on, for one of its volumes.
type untidy struct {
	pool.Backend
	left []string
	err  error
}

func (u *untidy) Tidy(_ context.Context, dryRun bool) ([]string, error) {
	left := u.left
	if !dryRun {
		u.left = nil
	}
	return left, u.err
}

func TestPoolsAreTidied(t *testing.T) {
	pools := map[string]pool.Backend{
		"left": &untidy{left: []string{"a", "b"}}, "clean": &untidy{}, "broken": &untidy{err: errors.New("no answer")}, "other": struct{ pool.Backend }{},
	}
	r := &Recoverer{PoolNames: []string{"left", "clean", "broken", "other", "gone"}, Pools: func(name string) (pool.Backend, error) {
		if b := pools[name]; b != nil {
			return b, nil
		}
		return nil, errors.New("it cannot be opened")
	}}
	found := func() (all []string) {
		for _, f := range r.tidyPools(t.Context()) {
			all = append(all, f.Subject+": "+f.Seen+f.Error+" "+string(f.Outcome))
		}
		return all
	}
	broken := "pool broken: something that is left on may not have been switched offno answer left"
	for _, c := range []struct {
		dry  bool
		want []string
	}{
		{true, []string{"pool left: a planned", "pool left: b planned", broken}},
		{false, []string{"pool left: a done", "pool left: b done", broken}},
		{false, []string{broken}},
	} {
		r.DryRun = c.dry
		if diff := cmp.Diff(c.want, found()); diff != "" {
			t.Errorf("dry %v (-want +got):\n%s", c.dry, diff)
		}
	}
}
