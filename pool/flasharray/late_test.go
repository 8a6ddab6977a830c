package flasharray

import (
	"errors"
	"net/http"
	"testing"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
)

// TestLateReturnOfAGrant: the array carries out a return of a grant late, when the
// same host has the volume again. That takes the old claim, and not the one that
// the new guest stands on.
func TestLateReturnOfAGrant(t *testing.T) {
	for name, c := range map[string]struct {
		group  string
		before func(*testing.T, rig)
		fault  lab.Fault // of the second grant
	}{
		"own connection":                        {},
		"own connection, of which no reply was": {fault: lab.Fault{Kind: lab.LostAfter, Method: http.MethodPost, Path: connections}},
		"host group":                            {group: "group1"},
		"connection of an administrator":        {before: func(t *testing.T, r rig) { r.connect(t, "vm1", "kvm01") }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lab.Options{})
			r.settings.HostGroup = c.group
			create(t, r.open(t), "vm1")
			if c.before != nil {
				c.before(t, r)
			}
			grant(t, r.open(t), "vm1", kvm01, pool.Exclusive)
			r.FailFrom(1, lab.Fault{Kind: lab.LostLate, Method: http.MethodDelete, Path: tagPath})
			err := r.open(t).Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: kvm01, BootIDs: []string{"boot-1"}})
			if !errors.Is(err, pool.ErrMaybeDone) {
				t.Fatalf("revoke: %v", err)
			}
			r.ClearFaults()
			if c.fault.Kind != "" {
				r.FailAt(1, c.fault)
			}
			grant(t, r.open(t), "vm1", kvm01, pool.Exclusive)
			if n := r.CarryOutLate(); n == 0 {
				t.Error("nothing was late")
			}
			var held *pool.HeldError
			if _, err := r.elsewhere(t).Grant(t.Context(), request("vm1", kvm02, dom1, pool.Exclusive)); !errors.As(err, &held) {
				t.Errorf("another host is told %v", err)
			}
			if got := r.state(t); got != oneHolder {
				t.Errorf("the array has %s", got)
			}
		})
	}
}

// An administrator's connection of which the claim could not be corrected is left
// by a revoke, so its late return must not take the only claim either; and it is
// still left after another grant.
func TestLateReturnWhereAClaimCouldNotBeCorrected(t *testing.T) {
	r := newRig(t, lab.Options{})
	create(t, r.open(t), "vm1")
	r.connect(t, "vm1", "kvm01")
	b := r.open(t)
	_, err := b.LookupPath(t.Context(), NVMeTCP.Path(serialOf(t, r, "vm1")))
	must(t, err)
	r.FailFrom(2, lab.Fault{Kind: lab.LostBefore, Method: http.MethodPut, Path: tagPath + "/batch"})
	if _, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive)); err == nil {
		t.Fatal("granted")
	}
	r.ClearFaults()
	r.FailFrom(1, lab.Fault{Kind: lab.LostLate, Method: http.MethodDelete, Path: tagPath})
	if err := r.open(t).Revoke(t.Context(), fence); !errors.Is(err, pool.ErrMaybeDone) {
		t.Fatalf("revoke: %v", err)
	}
	r.ClearFaults()
	if c := grant(t, r.open(t), "vm1", kvm01, pool.Exclusive); !c.Lasting {
		t.Error("the device is not said to stay")
	}
	r.CarryOutLate()
	if got := r.state(t); got != oneHolder {
		t.Errorf("the array has %s", got)
	}
	revoke(t, r.open(t), "vm1", kvm01)
	wantConnections(t, r, "vm1 kvm01")
}

// A connection that another host of the same NVMe name needs too is left by a
// revoke, so it tells nothing of a claim that is being returned.
func TestLateReturnBesideAHostOfTheSameNQN(t *testing.T) {
	r := newRig(t, lab.Options{})
	create(t, r.open(t), "vm1")
	twin := testHost("kvm03", "5")
	twin.NQN = kvm01.NQN
	grant(t, r.elsewhere(t), "vm1", twin, pool.Multi)
	grant(t, r.open(t), "vm1", kvm01, pool.Multi)
	r.FailFrom(1, lab.Fault{Kind: lab.LostLate, Method: http.MethodDelete, Path: tagPath})
	if err := r.open(t).Revoke(t.Context(), fence); !errors.Is(err, pool.ErrMaybeDone) {
		t.Fatalf("revoke: %v", err)
	}
	r.ClearFaults()
	grant(t, r.open(t), "vm1", kvm01, pool.Multi)
	r.CarryOutLate()
	if holders, err := r.open(t).Holders(t.Context(), "vm1"); err != nil || len(holders) != 2 {
		t.Errorf("held by %v, %v", holders, err)
	}
}
