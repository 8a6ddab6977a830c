package flasharray

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
)

// start does what the hook does of a disk that is known by its path.
func start(t testing.TB, b *backend, path string, h pool.Host) pool.Connection {
	t.Helper()
	v, err := b.LookupPath(t.Context(), path)
	must(t, err)
	_, err = b.Connection(t.Context(), v.Name, h)
	must(t, err)
	c, err := b.Grant(t.Context(), request(v.Name, h, dom1, pool.Exclusive))
	must(t, err)
	return c
}

// The calls of a start, and that they do not become more with the volumes that
// the array has.
func TestCallsOfAStart(t *testing.T) {
	const (
		get, put = "GET /volumes", "PUT /volumes/tags/batch"
		tags     = "GET /volumes/tags"
		connect  = "POST /connections"
	)
	for _, n := range []int{10, 100_000} {
		t.Run(fmt.Sprint(n, " volumes"), func(t *testing.T) {
			r := newRig(t, lab.Options{})
			r.AddVolumes("other", n, mib)
			first := r.open(t)
			r.ForgetCalls()
			v := create(t, first, "vm1")
			if got := r.calls(); len(got) != 4 {
				t.Errorf("create: %d calls: %v", len(got), got)
			}
			path := NVMeTCP.Path(serialOf(t, r, "vm1"))
			// Of this boot's first start the array, the host and its portals are found out.
			start(t, first, path, kvm01)
			want := []string{"GET /ports", "GET /network-interfaces", "GET /hosts", put, tags, connect}
			got := r.calls()
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("first start (-want +got):\n%s", diff)
			}
			cold, ok := r.Volume("other7")
			if !ok {
				t.Fatal("no volume other7")
			}
			path = NVMeTCP.Path(Serial(cold.Serial))
			start(t, r.open(t), path, kvm01)
			if diff := cmp.Diff([]string{get, put, tags, connect}, r.calls()); diff != "" {
				t.Errorf("cold start (-want +got):\n%s", diff)
			}
			b := r.open(t)
			b.now = func() time.Time { return time.Now().Add(2 * shortGrant) }
			must(t, b.Revoke(t.Context(), pool.RevokeRequest{Volume: "other7", Host: kvm01}))
			if diff := cmp.Diff([]string{get, tags, "DELETE /connections", "DELETE /volumes/tags"}, r.calls()); diff != "" {
				t.Errorf("revoke (-want +got):\n%s", diff)
			}
			start(t, r.open(t), path, kvm01)
			if diff := cmp.Diff([]string{put, tags, connect}, r.calls()); diff != "" {
				t.Errorf("warm start (-want +got):\n%s", diff)
			}
			found, err := r.open(t).Lookup(t.Context(), "vm1")
			must(t, err)
			if diff := cmp.Diff(v, found); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{get, tags}, r.calls()); diff != "" {
				t.Errorf("look-up (-want +got):\n%s", diff)
			}
		})
	}
}

func serialOf(t testing.TB, r rig, name string) Serial {
	t.Helper()
	v, ok := r.Volume(name)
	if !ok {
		t.Fatalf("the array has no volume %s", name)
	}
	s, err := ParseSerial(v.Serial)
	must(t, err)
	return s
}

// A path that is not of a FlashArray is nobody's business there.
func TestForeignPathsCostNoCall(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	for _, path := range []string{
		"/dev/disk/by-id/nvme-eui.0025385971b0a1c2", "/dev/disk/by-id/nvme-eui.36304730526020290025384500000001",
		"/dev/disk/by-id/nvme-eui.0025385971b0a1c2-part1", "/dev/nvme0n1", "/dev/mapper/3624a93709714b5cb91634c470002b2c8",
	} {
		if _, err := b.LookupPath(t.Context(), path); err == nil || !strings.Contains(err.Error(), pool.ErrNotFound.Error()) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if calls := r.Calls(); len(calls) != 0 {
		t.Errorf("calls: %v", calls)
	}
}

// A partition of a volume is neither the volume nor a stranger's disk.
func TestPartitionIsRefused(t *testing.T) {
	r := newRig(t, lab.Options{})
	create(t, r.open(t), "vm1")
	whole := NVMeTCP.Path(serialOf(t, r, "vm1"))
	_, err := r.open(t).LookupPath(t.Context(), whole+"-part1")
	wantError(t, "look up", err, "partition of volume flash/vm1", "give the guest the whole volume, "+whole)
	if errors.Is(err, pool.ErrNotFound) {
		t.Error("it is taken for nobody's")
	}
	if _, err := r.open(t).LookupPath(t.Context(), "/dev/disk/by-id/nvme-eui.009714b5cb91634c24a937470002b2c8-part1"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("of a volume that is not of the pool: %v", err)
	}
}

// The calls of an arrival. The array counts the source's connection, so that it
// takes one more to find out that this host has none; not where this host knows
// it, because it had the volume before.
func TestCallsOfAnArrival(t *testing.T) {
	r := newRig(t, lab.Options{})
	create(t, r.open(t), "vm1")
	grant(t, r.open(t), "vm1", kvm01, pool.Exclusive)
	path := NVMeTCP.Path(serialOf(t, r, "vm1"))
	arrive := func(b *backend) []string {
		t.Helper()
		_, err := b.LookupPath(t.Context(), path)
		must(t, err)
		_, err = b.Connection(t.Context(), "vm1", kvm02)
		must(t, err)
		r.calls()
		grant(t, b, "vm1", kvm02, pool.Handover)
		return r.calls()
	}
	here := r.elsewhere(t)
	const put, tags, connect = "PUT /volumes/tags/batch", "GET /volumes/tags", "POST /connections"
	if diff := cmp.Diff([]string{"GET /hosts", put, tags, put, connect}, arrive(here)); diff != "" {
		t.Errorf("first arrival (-want +got):\n%s", diff)
	}
	here.now = func() time.Time { return time.Now().Add(2 * shortGrant) }
	revoke(t, here, "vm1", kvm02)
	here.now = time.Now
	if diff := cmp.Diff([]string{put, tags, connect}, arrive(here)); diff != "" {
		t.Errorf("second arrival (-want +got):\n%s", diff)
	}
}

// The calls of a grant that is repeated. The connection of its own saves one: it
// tells that nobody is ending the grant; a host group's tells nothing, so that the
// claim is written anew.
func TestCallsOfARepeatedGrant(t *testing.T) {
	const put, tags, drop = "PUT /volumes/tags/batch", "GET /volumes/tags", "DELETE /volumes/tags"
	for group, want := range map[string][]string{
		"":       {put, tags, "POST /connections", drop},
		"group1": {put, tags, put, drop},
	} {
		r := newRig(t, lab.Options{})
		r.settings.HostGroup = group
		b := r.open(t)
		create(t, b, "vm1")
		grant(t, b, "vm1", kvm01, pool.Exclusive)
		_, err := b.LookupPath(t.Context(), NVMeTCP.Path(serialOf(t, r, "vm1")))
		must(t, err)
		r.calls()
		grant(t, b, "vm1", kvm01, pool.Exclusive)
		if diff := cmp.Diff(want, r.calls()); diff != "" {
			t.Errorf("host group %q (-want +got):\n%s", group, diff)
		}
	}
}
