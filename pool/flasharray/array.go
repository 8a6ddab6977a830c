package flasharray

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// array is the calls that this package needs, one method each.
type array struct{ *rest.Client }

// arrayVolume is what the array says of a volume.
type arrayVolume struct {
	ID          string `json:"id"`
	Name        string `json:"name"` // with its pod, or its volume group
	Serial      string `json:"serial"`
	Provisioned int64  `json:"provisioned"`
	CreatedMS   int64  `json:"created"` // milliseconds
	Destroyed   bool   `json:"destroyed"`
	Subtype     string `json:"subtype"` // "regular", or what is no disk
	// Connections counts the hosts and host groups that the volume is connected
	// to; nil: the array does not say.
	Connections *int `json:"connection_count"`
}

// check refuses what cannot be a volume: nothing may be done to one without id.
func (v arrayVolume) check() error {
	if v.ID == "" || v.Name == "" || v.Provisioned <= 0 {
		return fmt.Errorf("the array's description of volume %q is not whole (id %q, %d bytes)", clip(v.Name), clip(v.ID), v.Provisioned)
	}
	if _, err := ParseSerial(v.Serial); err != nil {
		return fmt.Errorf("volume %q: %w", clip(v.Name), err)
	}
	return nil
}

// query makes a query of pairs; empty values are left out.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// equals is a filter; Purity has no way to write a quote within quotes.
func equals(field, value string) string { return field + "='" + value + "'" }

func quotable(value string) bool { return !strings.ContainsAny(value, `'"\*`) }

const volumes = "/volumes"

// volume finds one volume that is not destroyed: by names, ids or filter.
func (a array) volume(ctx context.Context, by, value string) (arrayVolume, error) {
	v, err := rest.One[arrayVolume](ctx, a.Client, rest.Request{
		Method: http.MethodGet, Path: volumes, Query: query(by, value, "destroyed", "false"),
	})
	if err == nil && v.Destroyed {
		return arrayVolume{}, rest.ErrDestroyed
	}
	if err == nil {
		err = v.check()
	}
	return v, err
}

// volumes yields the volumes that are not destroyed; filter "" is all.
func (a array) volumes(ctx context.Context, filter string) iter.Seq2[arrayVolume, error] {
	return rest.Each[arrayVolume](ctx, a.Client, rest.Request{Path: volumes, Query: query("filter", filter, "destroyed", "false")})
}

// noDefaultProtection is since which version it can be asked for.
const noDefaultProtection = 16

func (a array) create(ctx context.Context, name string, sizeBytes int64, protected bool) (arrayVolume, error) {
	q := query("names", name, "overwrite", "false")
	v, err := a.Version(ctx)
	if err != nil {
		return arrayVolume{}, err
	}
	if !protected && v.AtLeast(2, noDefaultProtection) {
		// Otherwise SafeMode keeps the volume from being eradicated.
		q.Set("with_default_protection", "false")
	}
	made, err := rest.One[arrayVolume](ctx, a.Client, rest.Request{
		Method: http.MethodPost, Path: volumes, Query: q, Body: map[string]int64{"provisioned": sizeBytes},
	})
	if err == nil {
		err = made.check()
	}
	return made, err
}

// change is what can be changed of a volume; nil stays.
type change struct {
	Name        *string `json:"name,omitempty"`
	Provisioned *int64  `json:"provisioned,omitempty"`
	Destroyed   *bool   `json:"destroyed,omitempty"`
}

// patch changes a volume by its id, so never another one of its name.
// Repeating it does no harm.
func (a array) patch(ctx context.Context, id string, c change) (arrayVolume, error) {
	return rest.One[arrayVolume](ctx, a.Client, rest.Request{
		Method: http.MethodPatch, Path: volumes, Query: query("ids", id), Body: c, Idempotent: true,
	})
}

// destroy destroys a volume while it has this name: who renames it has it stay,
// also from a request that the array carries out late.
func (a array) destroy(ctx context.Context, name string) error {
	yes := true
	return a.Do(ctx, rest.Request{
		Method: http.MethodPatch, Path: volumes, Query: query("names", name), Body: change{Destroyed: &yes}, Idempotent: true,
	}, nil)
}

func (a array) rename(ctx context.Context, id, name string) (arrayVolume, error) {
	return a.patch(ctx, id, change{Name: &name})
}

func (a array) eradicate(ctx context.Context, id string) error {
	return a.Do(ctx, rest.Request{Method: http.MethodDelete, Path: volumes, Query: query("ids", id), Idempotent: true}, nil)
}

// gone says whether an error means that the object is not there, or not any
// more.
func gone(err error) bool {
	return errors.Is(err, rest.ErrNotFound) || errors.Is(err, rest.ErrDestroyed)
}
