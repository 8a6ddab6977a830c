package linstor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

// volumes are those of this pool, in one call, with the sizes of their
// definitions, and beside them what is not finished. With an error they are those
// of which everything could be read.
func (b *backend) volumes(ctx context.Context) (list []volume, coming []*unfinishedError, err error) {
	all, err := b.linstor.Definitions(ctx)
	if err != nil {
		return nil, nil, err
	}
	var wrong []error
	for _, d := range all {
		v, err := b.take(d)
		var half *unfinishedError
		switch {
		case err == nil:
			list = append(list, v)
		case errors.As(err, &half):
			coming = append(coming, half)
		case !errors.Is(err, pool.ErrNotFound):
			wrong = append(wrong, err)
		}
	}
	slices.SortFunc(list, func(x, y volume) int { return cmp.Compare(x.name, y.name) })
	return list, coming, errors.Join(wrong...)
}

// List implements pool.Backend. It costs one call, and one more if the size of a
// volume is not exact. Of a volume that is not finished it warns: nothing else
// shows one that no command will finish.
func (b *backend) List(ctx context.Context) ([]pool.Volume, error) {
	return whole(ctx, b, "list", func() ([]pool.Volume, error) {
		list, coming, wrong := b.volumes(ctx)
		for _, half := range coming {
			b.log.Warn(half)
		}
		sizes, err := b.sizes(ctx, list)
		if err != nil {
			return nil, errors.Join(wrong, err)
		}
		var out []pool.Volume
		for _, v := range list {
			v.bytes = max(v.bytes, sizes[strings.ToLower(v.resource())])
			out = append(out, b.public(v))
		}
		return out, wrong
	})
}

// sizes are those of the devices of volumes whose size is not exact, by the
// resource's name in lower case.
func (b *backend) sizes(ctx context.Context, list []volume) (map[string]int64, error) {
	wanted := map[string]bool{}
	for _, v := range list {
		if !v.exact() {
			wanted[strings.ToLower(v.resource())] = true
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	all, err := b.linstor.Resources(ctx)
	if err != nil {
		return nil, err
	}
	at := map[string]deployment{}
	for _, r := range all {
		if key := strings.ToLower(r.Name); wanted[key] {
			d := at[key]
			d.add(r)
			at[key] = d
		}
	}
	sizes := map[string]int64{}
	for key, d := range at {
		sizes[key] = d.bytes
	}
	return sizes, nil
}

// HeldBy implements pool.HeldLister, in one call.
func (b *backend) HeldBy(ctx context.Context, hostID string) ([]pool.Held, error) {
	return whole(ctx, b, "list what a host holds of", func() ([]pool.Held, error) {
		list, _, err := b.volumes(ctx)
		wrong := []error{err}
		var held []pool.Held
		for _, v := range list {
			mine := slices.DeleteFunc(v.claims(), func(c claims.Claim) bool { return !c.OfHost(hostID) })
			holders, err := b.ledger(v).Holders(mine)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("volume %s: %w", v.name, err))
			}
			for _, h := range holders {
				held = append(held, pool.Held{Volume: v.name, Holder: h})
			}
		}
		return held, errors.Join(wrong...)
	})
}

// Capacity implements pool.CapacityReporter: that of the storage pools on which
// the next volume of the resource group would be placed.
func (b *backend) Capacity(ctx context.Context) (pool.Capacity, error) {
	return whole(ctx, b, "measure", func() (pool.Capacity, error) {
		info, err := b.linstor.Space(ctx, b.settings.ResourceGroup)
		if errors.Is(err, rest.ErrNoGroup) {
			return pool.Capacity{}, b.noGroup(err)
		}
		if err != nil {
			return pool.Capacity{}, err
		}
		if info.SpaceInfo == nil {
			return pool.Capacity{}, fmt.Errorf("controller %s does not say how much space resource group %s has", b.linstor.Controller(), b.settings.ResourceGroup)
		}
		free := info.SpaceInfo.MaxVlmSizeInKib
		if n := info.SpaceInfo.AvailableSizeInKib; n != nil {
			free = min(free, *n)
		}
		total := free
		if n := info.SpaceInfo.CapacityInKib; n != nil {
			total = max(free, *n)
		}
		return pool.Capacity{TotalBytes: total * 1024, FreeBytes: max(0, free) * 1024}, nil
	})
}
