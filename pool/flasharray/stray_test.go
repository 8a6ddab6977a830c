package flasharray

import (
	"slices"
	"strings"
	"testing"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
)

// late leaves what a request for a connection does that the array carries out
// when its caller has given it up, and has returned its claim.
func late(t *testing.T, r rig, b *backend, name string) {
	t.Helper()
	create(t, b, name)
	grant(t, b, name, kvm01, pool.Exclusive)
	revoke(t, b, name, kvm01)
	r.connect(t, name, "kvm01")
}

// A connection without a claim is named by whoever looks, with the remedy.
func TestConnectionWithoutAClaimIsNamed(t *testing.T) {
	for name, look := range map[string]func(*testing.T, *backend) error{
		"Holders": func(t *testing.T, b *backend) error {
			_, err := b.Holders(t.Context(), "vm1")
			return err
		},
		"HeldBy": func(t *testing.T, b *backend) error {
			_, err := b.HeldBy(t.Context(), kvm01.ID)
			return err
		},
		"Grant": func(t *testing.T, b *backend) error {
			_, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lab.Options{})
			b := r.open(t)
			late(t, r, b, "vm1")
			said := heard(b)
			must(t, look(t, b))
			if e := said.AllEntries(); len(e) != 1 || !strings.Contains(e[0].Message, "run 'purevol disconnect --host kvm01 vm1' on the array") {
				t.Errorf("said %v", e)
			}
			wantConnections(t, r, "vm1 kvm01") // it may be an administrator's
		})
	}
}

// Nothing is said of connections that have a claim, or that are to volumes of
// others; and where the array counts no more than the claims nothing is asked.
func TestConnectionsThatAreNoStrays(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	grant(t, b, "vm1", kvm02, pool.Handover)
	r.AddVolumes("theirs", 1, mib)
	r.connect(t, "theirs1", "kvm01")
	said := heard(b)
	r.calls()
	for _, name := range []string{"vm1", "theirs1"} {
		_, err := b.Holders(t.Context(), name)
		must(t, err)
	}
	if calls := r.calls(); slices.Contains(calls, "GET "+connections) {
		t.Errorf("asked %v", calls)
	}
	_, err := b.HeldBy(t.Context(), kvm01.ID)
	must(t, err)
	if e := said.AllEntries(); len(e) != 0 {
		t.Errorf("said %v", e)
	}
}
