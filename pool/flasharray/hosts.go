package flasharray

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// arrayHost is what the array says of a host.
type arrayHost struct {
	Name  string    `json:"name"`
	NQNs  []string  `json:"nqns"`
	IQNs  []string  `json:"iqns"`
	WWNs  []string  `json:"wwns"`
	Group reference `json:"host_group"`
	// Local is missing in older versions. A host of another array of the same
	// pod cannot be connected here.
	Local *bool `json:"is_local"`
}

// hostEntry is what is remembered of a host.
type hostEntry struct {
	Name  string `json:"name"`
	Group string `json:"group"`
}

const hosts = "/hosts"

func hostKey(initiator string) string { return "host/" + initiator }

// way finds out through what volumes are connected for a host: its host on the
// array, or the pool's host group, of which it must be a member.
func (b *backend) way(ctx context.Context, h pool.Host) (way, error) {
	field, initiator, err := b.place.transport.initiator(h)
	if err != nil {
		return way{}, err
	}
	e, err := once(ctx, b, hostKey(initiator), func(ctx context.Context) (hostEntry, error) {
		return b.findHost(ctx, h, field, initiator)
	})
	if err != nil {
		return way{}, err
	}
	w, err := b.wayOf(e)
	if err != nil {
		b.forgetKey(hostKey(initiator))
	}
	return w, err
}

func (b *backend) wayOf(e hostEntry) (way, error) {
	if b.place.hostGroup == "" {
		return way{host: e.Name}, nil
	}
	if !strings.EqualFold(e.Group, b.place.hostGroup) {
		return way{}, fmt.Errorf("host %s of array %s is not in the host group %s of this pool: add it there", e.Name, b.array.Array(), b.place.hostGroup)
	}
	return way{group: b.place.hostGroup}, nil
}

func (b *backend) forgetHost(h pool.Host) {
	if _, initiator, err := b.place.transport.initiator(h); err == nil {
		b.forgetKey(hostKey(initiator))
	}
}

// findHost looks a host up by how it names itself, never by its name: names are
// for people, and are chosen by them.
func (b *backend) findHost(ctx context.Context, h pool.Host, field, initiator string) (hostEntry, error) {
	found, err := b.hostOf(ctx, field, initiator)
	switch {
	case err == nil:
		return found, nil
	case !errors.Is(err, rest.ErrNotFound):
		return hostEntry{}, err
	case !b.settings.CreateHost:
		return hostEntry{}, b.unknownHost(h, initiator)
	}
	return b.makeHost(ctx, h, field, initiator)
}

func (b *backend) unknownHost(h pool.Host, initiator string) error {
	return fmt.Errorf("array %s knows no host with %s (host %s): create it there, or set create_host = true in the configuration",
		b.array.Array(), initiator, h.Name)
}

func (b *backend) hostOf(ctx context.Context, field, initiator string) (hostEntry, error) {
	list, err := rest.List[arrayHost](ctx, b.array.Client, rest.Request{Path: hosts, Query: query("filter", equals(field, initiator))})
	if err != nil {
		return hostEntry{}, err
	}
	for _, a := range list {
		named := slices.ContainsFunc(a.initiators(field), func(n string) bool { return strings.EqualFold(n, initiator) })
		if (a.Local == nil || *a.Local) && a.Name != "" && named {
			return hostEntry{a.Name, a.Group.Name}, nil
		}
	}
	return hostEntry{}, rest.ErrNotFound
}

func (a arrayHost) initiators(field string) []string {
	return map[string][]string{"nqns": a.NQNs, "iqns": a.IQNs, "wwns": a.WWNs}[field]
}

// makeHost creates a host. One of its name may be there with other names of its
// own: then a person has to decide what that is.
func (b *backend) makeHost(ctx context.Context, h pool.Host, field, initiator string) (hostEntry, error) {
	name := hostName(h.Name)
	err := b.array.Do(ctx, rest.Request{
		Method: http.MethodPost, Path: hosts, Query: query("names", name), Body: map[string][]string{field: {initiator}},
	}, nil)
	if err == nil {
		return hostEntry{Name: name}, nil
	}
	if !errors.Is(err, rest.ErrExists) && !errors.Is(err, rest.ErrInUse) && !errors.Is(err, rest.ErrMaybeDone) || ctx.Err() != nil {
		return hostEntry{}, fmt.Errorf("create host %s: %w", name, err)
	}
	// Made by a call whose reply was lost, or by another process just now.
	found, again := b.hostOf(ctx, field, initiator)
	switch {
	case again == nil:
		return found, nil
	case errors.Is(again, rest.ErrNotFound) && errors.Is(err, rest.ErrExists):
		return hostEntry{}, fmt.Errorf("the array has a host %s already, without %s: add that to it, or rename it (%w)", name, initiator, err)
	}
	return hostEntry{}, errors.Join(fmt.Errorf("create host %s: %w", name, err), again)
}

// hostName is a name that the array takes, as near to the host's as can be.
func hostName(name string) string {
	out := []byte(name)
	for i, c := range out {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter {
			out[i] = '-'
		}
	}
	plain := strings.Trim(string(out[:min(len(out), 63)]), "-")
	if plain == "" || allDigits.MatchString(plain) {
		plain = "host-" + plain
	}
	return strings.Trim(plain[:min(len(plain), 63)], "-")
}
