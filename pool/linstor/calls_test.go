package linstor

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volbridge/volbridge/blockdev"
	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
)

// The calls of everything, and that they do not become more with the volumes
// that the cluster has.
func TestCalls(t *testing.T) {
	const (
		definitions = "GET /v1/resource-definitions"
		view        = "GET /v1/view/resources"
		vm1         = "/v1/resource-definitions/vb-vm1"
		notes       = "PUT " + vm1
		available   = "POST " + vm1 + "/resources/kvm01/make-available"
	)
	for _, n := range []int{10, 10_000} {
		t.Run(fmt.Sprint(n, " volumes"), func(t *testing.T) {
			r := newRig(t, lab.Options{NoTieBreaker: true})
			for i := range n {
				must(t, r.AddVolume("vms", fmt.Sprintf("vb-other%d", i), 1024, "store1", "store2"))
			}
			b := r.open(t)
			want := func(what string, want ...string) {
				t.Helper()
				if diff := cmp.Diff(want, r.calls()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			create(t, b, "vm1")
			want("create", definitions, "POST /v1/resource-definitions", definitions, "POST "+vm1+"/volume-definitions", view,
				"POST "+vm1+"/autoplace", view, notes, definitions)
			_, err := b.LookupPath(t.Context(), blockdev.DRBDPath("vb-vm1", 0))
			must(t, err)
			want("look-up", definitions)
			_, err = b.Connection(t.Context(), "vm1", kvm01)
			must(t, err)
			want("connection", definitions, view)
			grant(t, b, "vm1", kvm01, pool.Exclusive)
			want("grant", definitions, view, notes, definitions, available, definitions)
			held, err := b.HeldBy(t.Context(), kvm01.ID)
			must(t, err)
			if len(held) != 1 || held[0].Volume != "vm1" {
				t.Errorf("held: %v", held)
			}
			want("held by", definitions)
			revoke(t, b, "vm1", kvm01)
			want("revoke", definitions, view, "DELETE "+vm1+"/resources/kvm01", notes, definitions)
			list, err := b.List(t.Context())
			if err != nil || len(list) != n+1 {
				t.Errorf("listed %d, %v", len(list), err)
			}
			want("list", definitions, view) // the sizes of the others are not exact
			must(t, b.Delete(t.Context(), "vm1", "mine"))
			want("delete", definitions, notes, definitions, "DELETE "+vm1)
		})
	}
}

// A path that cannot be of this pool costs no call.
func TestForeignPathsCostNoCall(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	for _, path := range []string{"/dev/drbd/by-res/vm1/0", "/dev/drbd/by-res/vb-vm1/1", "/dev/drbd/by-res/vb-vm1/00", "/dev/drbd1000",
		"/dev/drbd/by-res/vb-vm1/../vb-vm1/0", "/dev/drbd/by-res//vb-vm1/0", "/dev/drbd/by-res/vb-/0", "/dev/drbd/by-disk/vb-vm1"} {
		if _, err := b.LookupPath(t.Context(), path); !errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if calls := r.Calls(); len(calls) > 0 {
		t.Errorf("calls: %v", calls)
	}
}
