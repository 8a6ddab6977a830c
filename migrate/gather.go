package migrate

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/pool"
)

// Plan looks at both hosts and the pools, and decides. It changes nothing.
func (m *Mover) Plan(ctx context.Context, o Options) (Facts, Plan, error) {
	f, err := m.gather(ctx, o)
	if err != nil {
		return Facts{}, Plan{}, err
	}
	p, err := NewPlan(f, o)
	return f, p, err
}

// gather collects what planning needs to know.
func (m *Mover) gather(ctx context.Context, o Options) (Facts, error) {
	f := Facts{SourceURI: m.Source.URI()}
	var err error
	if f.Guest, err = m.Source.Guest(ctx, o.Domain); err != nil {
		return f, fmt.Errorf("look up domain %s on %s: %w", o.Domain, m.Source.URI(), err)
	}
	if f.Source, err = m.Source.Host(ctx); err != nil {
		return f, fmt.Errorf("ask the source: %w", err)
	}
	if f.Dest, err = m.Dest.Host(ctx); err != nil {
		return f, fmt.Errorf("ask the destination: %w", err)
	}
	if err := m.gatherNamesakes(ctx, &f, o); err != nil {
		return f, err
	}
	if !f.Guest.Active {
		return f, nil // there is nothing more to plan; the plan says so
	}
	if f.Live, err = domainxml.Parse([]byte(f.Guest.LiveXML)); err != nil {
		return f, fmt.Errorf("read the definition of domain %s: %w", f.Guest.Name, err)
	}
	if f.Guest.Persistent {
		if f.Stored, err = domainxml.Parse([]byte(f.Guest.StoredXML)); err != nil {
			return f, fmt.Errorf("read the stored definition of domain %s: %w", f.Guest.Name, err)
		}
	}
	if f.Managed, err = m.Recognise(ctx, f.Live); err != nil {
		return f, fmt.Errorf("find the pools' disks of domain %s: %w", f.Guest.Name, err)
	}
	return f, m.gatherPools(ctx, &f, o)
}

// gatherNamesakes finds domains on the destination that would collide.
func (m *Mover) gatherNamesakes(ctx context.Context, f *Facts, o Options) error {
	refs := []string{f.Guest.UUID, f.Guest.Name}
	if o.Tuning.DestName != "" {
		refs[1] = o.Tuning.DestName
	}
	for _, ref := range refs {
		g, err := m.Dest.Guest(ctx, ref)
		switch {
		case errors.Is(err, ErrNoGuest):
		case err != nil:
			return fmt.Errorf("look whether the destination has domain %s already: %w", ref, err)
		default:
			f.DestGuests = append(f.DestGuests, g)
		}
	}
	return nil
}

// gatherPools looks at every pool that the guest or the options name, here and
// through the destination's volbridge.
func (m *Mover) gatherPools(ctx context.Context, f *Facts, o Options) error {
	f.Pools = map[string]PoolView{}
	names := m.poolsNamed(f, o)
	for _, name := range names {
		view, err := m.view(ctx, name)
		if err != nil {
			return err
		}
		f.Pools[name] = view
	}
	if len(names) == 0 {
		return nil
	}
	return m.probe(ctx, f, names)
}

// poolsNamed are the configured pools that matter to this migration.
func (m *Mover) poolsNamed(f *Facts, o Options) []string {
	set := map[string]bool{}
	if o.ToPool != "" {
		set[o.ToPool] = true
	}
	for _, d := range o.Disks {
		set[d.Pool] = true
	}
	for _, at := range f.Managed {
		set[at.Pool] = true
	}
	var names []string
	for n := range set {
		if contains(m.PoolNames, n) {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names
}

// probe asks for all pools in one go, and only if that is refused for each by
// itself, so that the refusal names the right ones.
func (m *Mover) probe(ctx context.Context, f *Facts, names []string) error {
	if m.Dest.Probe(ctx, f.Guest, names) == nil {
		return nil
	}
	for _, name := range names {
		view := f.Pools[name]
		view.Remote = m.Dest.Probe(ctx, f.Guest, []string{name})
		f.Pools[name] = view
	}
	return nil
}

func (m *Mover) view(ctx context.Context, name string) (PoolView, error) {
	b, err := m.Pools(name)
	if err != nil {
		return PoolView{}, err
	}
	v := PoolView{FreeBytes: -1, Round: func(n int64) int64 { return n }}
	_, v.Provisions = b.(pool.Provisioner)
	if r, ok := b.(pool.Rounder); ok {
		v.Round = r.RoundSize
	}
	if c, ok := b.(pool.CapacityReporter); ok {
		capacity, err := c.Capacity(ctx)
		if err != nil {
			return PoolView{}, fmt.Errorf("look at pool %s: %w", name, err)
		}
		v.FreeBytes = capacity.FreeBytes
	}
	v.Exists = func(volume string) (bool, error) {
		_, err := b.Lookup(ctx, volume)
		if errors.Is(err, pool.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	return v, nil
}
