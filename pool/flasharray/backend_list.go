package flasharray

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// List implements pool.Backend. It costs a call for each page of the array's
// volumes, and one for each page of their tags.
func (b *backend) List(ctx context.Context) ([]pool.Volume, error) {
	return whole(ctx, b, "list", b.list)
}

func (b *backend) list(ctx context.Context) ([]pool.Volume, error) {
	filter := ""
	if b.place.pod != "" {
		filter = equals("name", b.prefix()+"*")
	}
	var found []volume
	var wrong []error
	for a, err := range b.array.volumes(ctx, filter) {
		if err != nil {
			return nil, err
		}
		if name, ours := b.inPool(a.Name); !ours || checkName(name) != nil || a.Subtype != "" && a.Subtype != "regular" {
			continue
		}
		if err := a.check(); err != nil {
			wrong = append(wrong, err)
			continue
		}
		v, _ := b.take(a)
		found = append(found, v)
	}
	if len(found) == 0 {
		return nil, errors.Join(wrong...)
	}
	creations, err := b.creations(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]pool.Volume, len(found))
	for i, v := range found {
		list[i] = b.public(v, creations[v.ID])
	}
	slices.SortFunc(list, func(x, y pool.Volume) int { return cmp.Compare(x.Name, y.Name) })
	return list, errors.Join(wrong...)
}

// creations are the CreationIDs of the array's volumes, by their ids.
func (b *backend) creations(ctx context.Context) (map[string]string, error) {
	tags, err := b.array.tagsOfAll(ctx, equals("key", creationKey))
	if err != nil {
		return nil, err
	}
	byID := map[string]string{}
	for _, t := range tags {
		if t.Resource != nil && t.Key == creationKey {
			byID[t.Resource.ID] = t.Value
		}
	}
	return byID, nil
}

// HeldBy implements pool.HeldLister.
func (b *backend) HeldBy(ctx context.Context, hostID string) ([]pool.Held, error) {
	return whole(ctx, b, "list what a host holds of", func(ctx context.Context) ([]pool.Held, error) { return b.heldBy(ctx, hostID) })
}

func (b *backend) heldBy(ctx context.Context, hostID string) ([]pool.Held, error) {
	tags, err := b.array.tagsOfAll(ctx, equals("key", claims.HostPrefix(hostID)+"*"))
	if err != nil {
		return nil, err
	}
	b.warnOfOwnStrays(ctx, hostID, tags)
	byVolume := map[string][]arrayTag{}
	for _, t := range tags {
		if t.Resource != nil {
			byVolume[t.Resource.Name] = append(byVolume[t.Resource.Name], t)
		}
	}
	var held []pool.Held
	var wrong []error
	for arrayName, tags := range byVolume {
		name, ours := b.inPool(arrayName)
		if !ours || checkName(name) != nil {
			continue
		}
		holders, err := b.ledger(volume{ArrayName: arrayName, name: name}).Holders(claimsIn(tags))
		if err != nil {
			wrong = append(wrong, fmt.Errorf("volume %s: %w", name, err))
		}
		for _, h := range holders {
			if h.Host.ID == hostID {
				held = append(held, pool.Held{Volume: name, Holder: h})
			}
		}
	}
	slices.SortFunc(held, func(x, y pool.Held) int {
		return cmp.Or(cmp.Compare(x.Volume, y.Volume), cmp.Compare(x.Holder.Owner.UUID, y.Holder.Owner.UUID))
	})
	return held, errors.Join(wrong...)
}

// space is what the array says of an object's use.
type space struct {
	TotalUsed       int64 `json:"total_used"`
	TotalPhysical   int64 `json:"total_physical"`
	UsedProvisioned int64 `json:"used_provisioned"` // what counts against a quota
	Provisioned     int64 `json:"total_provisioned"`
}

// Capacity implements pool.CapacityReporter: that of the pod's quota, or that
// of the array, which others fill too.
func (b *backend) Capacity(ctx context.Context) (pool.Capacity, error) {
	return whole(ctx, b, "measure", b.capacity)
}

func (b *backend) capacity(ctx context.Context) (pool.Capacity, error) {
	if b.place.pod != "" {
		p, err := b.findPod(ctx)
		if err != nil {
			return pool.Capacity{}, err
		}
		if p.Quota > 0 {
			return capacityOf(p.Quota, cmp.Or(p.Space.UsedProvisioned, p.Space.Provisioned)), nil
		}
	}
	a, err := rest.One[struct {
		Capacity int64 `json:"capacity"`
		Space    space `json:"space"`
	}](ctx, b.array.Client, rest.Request{Method: http.MethodGet, Path: "/arrays"})
	if err != nil {
		return pool.Capacity{}, err
	}
	return capacityOf(a.Capacity, cmp.Or(a.Space.TotalPhysical, a.Space.TotalUsed)), nil
}

func capacityOf(total, used int64) pool.Capacity {
	return pool.Capacity{TotalBytes: total, FreeBytes: max(0, total-used)}
}

type arrayPod struct {
	Name      string `json:"name"`
	Quota     int64  `json:"quota_limit"` // null: none
	Space     space  `json:"space"`
	Destroyed bool   `json:"destroyed"`
	Promotion string `json:"promotion_status"`
	Arrays    int    `json:"array_count"`
}

func (b *backend) findPod(ctx context.Context) (arrayPod, error) {
	p, err := rest.One[arrayPod](ctx, b.array.Client, rest.Request{Method: http.MethodGet, Path: "/pods", Query: query("names", b.place.pod)})
	if gone(err) || err == nil && p.Destroyed {
		return arrayPod{}, fmt.Errorf("array %s has no pod %s: create it there, or correct the configuration", b.array.Array(), b.place.pod)
	}
	return p, err
}
