package migrate

import (
	"context"

	"github.com/volbridge/volbridge/pool"
)

// tidyPools lets the pools that may have left something switched on here switch
// it off.
func (r *Recoverer) tidyPools(ctx context.Context) (out []Finding) {
	for _, name := range r.PoolNames {
		out = append(out, r.tidyPool(ctx, name)...)
	}
	return out
}

func (r *Recoverer) tidyPool(ctx context.Context, name string) (out []Finding) {
	ctx, cancel := r.limited(ctx)
	defer cancel()
	b, err := r.Pools(name)
	t, ok := b.(pool.Tidier)
	if err != nil || !ok {
		return nil // strayGrants has said what is wrong with the pool
	}
	done, err := t.Tidy(ctx, r.DryRun)
	outcome := Recovered
	if r.DryRun {
		outcome = WouldDo
	}
	for _, what := range done {
		out = append(out, Finding{Kind: "pool", Subject: "pool " + name, Seen: what, Action: "switch it off", Outcome: outcome})
	}
	if err != nil {
		out = append(out, Finding{Kind: "pool", Subject: "pool " + name, Seen: "something that is left on may not have been switched off",
			Action: "none", Outcome: Unfinished, Error: err.Error()})
	}
	return out
}
