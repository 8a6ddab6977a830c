package flasharray

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// fencedBy is what `volume revoke` asks for: of the host it knows what the claim
// says, and that is not how the host names itself.
func fencedBy(t *testing.T, b *backend, h pool.Host) error {
	t.Helper()
	return b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: pool.Host{Name: h.Name, ID: h.ID}, BootIDs: []string{"boot-1"}})
}

// later lets no request that was made until now be under way any more.
func later(b *backend) *backend {
	b.now = func() time.Time { return time.Now().Add(b.inFlight()) }
	return b
}

// A host that has another name on the array now keeps its data path, so nobody is
// told that its access has ended before that is so.
func TestFencingAHostWithAnotherName(t *testing.T) {
	for name, after := range map[string]func(rig){
		"its old name is nobody's":       func(rig) {},
		"its old name is another host's": func(r rig) { r.AddHost("kvm01", testHost("", "7").NQN) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lab.Options{})
			here, there := r.open(t), later(r.elsewhere(t))
			create(t, here, "vm1")
			grant(t, here, "vm1", kvm01, pool.Exclusive)
			r.RenameHost("kvm01", "kvm01-old")
			after(r)
			for range 2 {
				wantError(t, "fencing", fencedBy(t, there, kvm01), "volume flash/vm1", "host kvm01-old",
					"nothing was changed", "run 'purevol disconnect --host kvm01-old vm1' on the array", "repeat this")
			}
			if holders, err := there.Holders(t.Context(), "vm1"); err != nil || len(holders) != 1 {
				t.Errorf("held by %v, %v", holders, err)
			}
			var held *pool.HeldError
			if _, err := there.Grant(t.Context(), request("vm1", kvm02, dom1, pool.Exclusive)); !errors.As(err, &held) {
				t.Errorf("the next host is told %v", err)
			}
			wantConnections(t, r, "vm1 kvm01-old")
			must(t, r.Disconnect("kvm01-old", "vm1"))
			must(t, fencedBy(t, there, kvm01))
			must(t, fencedBy(t, there, kvm01))
			if got := r.state(t); got != "vm1 1MiB mine" {
				t.Errorf("fenced: %s", got)
			}
			grant(t, there, "vm1", kvm02, pool.Exclusive)
		})
	}
}

// A connection that another claim explains is not in the way; nor is one that
// belongs to another claim of the host that is fenced.
func TestFencingAHostWhoseConnectionHasGone(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*testing.T, rig)
		left   string
	}{
		"nobody else":  {func(*testing.T, rig) {}, ""},
		"another host": {func(t *testing.T, r rig) { grant(t, r.elsewhere(t), "vm1", kvm02, pool.Multi) }, "vm1 kvm02"},
		"itself, under another name": {func(t *testing.T, r rig) {
			r.RenameHost("kvm01", "kvm01-old")
			again := request("vm1", kvm01, pool.Owner{UUID: "d0000000-0000-4000-8000-000000000002", Name: "db"}, pool.Multi)
			_, err := r.elsewhere(t).Grant(t.Context(), again)
			must(t, err)
		}, ""},
		"a host group": {func(t *testing.T, r rig) { must(t, r.ConnectGroup("group2", "vm1")) }, "vm1 @group2"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lab.Options{})
			r.AddHost("backup", testHost("", "8").NQN)
			r.AddGroup("group2", "backup")
			here, there := r.open(t), later(r.elsewhere(t))
			create(t, here, "vm1")
			grant(t, here, "vm1", kvm01, pool.Multi)
			must(t, r.Disconnect("kvm01", "vm1"))
			c.before(t, r)
			must(t, fencedBy(t, there, kvm01))
			if got := strings.Join(r.Connections(), " "); got != c.left {
				t.Errorf("connections %q, want %q", got, c.left)
			}
			for _, k := range claimsOf(t, there, volumeID(t, r)) {
				if k.OfHost(kvm01.ID) {
					t.Errorf("claim %+v", k)
				}
			}
		})
	}
}

func volumeID(t *testing.T, r rig) string {
	t.Helper()
	v, ok := r.Volume("vm1")
	if !ok {
		t.Fatal("no volume vm1")
	}
	return v.ID
}

// What an administrator connected for a purpose of his own cannot be told from the
// host that is fenced. He is asked, and may connect it again.
func TestFencingBesideAConnectionThatNobodyExplains(t *testing.T) {
	r := newRig(t, lab.Options{})
	r.AddHost("backup", testHost("", "8").NQN)
	here, there := r.open(t), later(r.elsewhere(t))
	create(t, here, "vm1")
	grant(t, here, "vm1", kvm01, pool.Exclusive)
	r.connect(t, "vm1", "backup")
	// While the host is connected under its name there is no question.
	must(t, fencedBy(t, there, kvm01))
	wantConnections(t, r, "vm1 backup")
	grant(t, here, "vm1", kvm01, pool.Exclusive)
	must(t, r.Disconnect("kvm01", "vm1"))
	wantError(t, "fencing", fencedBy(t, there, kvm01), "host backup", "purevol disconnect --host backup vm1", "for another purpose", "connected again")
	must(t, r.Disconnect("backup", "vm1"))
	must(t, fencedBy(t, there, kvm01))
}

// Nor is a host fenced whose claim does not say for sure that its connection is its
// own, once it has another name.
func TestFencingAHostWithAnotherNameAndAnUnsureClaim(t *testing.T) {
	r := newRig(t, lab.Options{})
	here, there := r.open(t), later(r.elsewhere(t))
	create(t, here, "vm1")
	v, _ := r.Volume("vm1")
	c := claims.Claim{Key: claims.NewKey(kvm01.ID, here.now()), Place: claims.Place{Name: "kvm01", Mark: unsure}, Holder: pool.Holder{
		Host: kvm01, BootID: "boot-1", Owner: dom1, Mode: pool.Exclusive, Since: here.now()}}
	putClaim(t, here, v.ID, c)
	r.connect(t, "vm1", "kvm01")
	r.RenameHost("kvm01", "kvm01-old")
	wantError(t, "fencing", fencedBy(t, there, kvm01), "host kvm01-old", "nothing was changed", "'purehost list'")
	must(t, r.Disconnect("kvm01-old", "vm1"))
	must(t, fencedBy(t, there, kvm01))
	if got := r.state(t); got != "vm1 1MiB mine" {
		t.Errorf("fenced: %s", got)
	}
}

// A host that gets the volume between the two looks at it is no stranger.
func TestFencingWhileAnotherHostArrives(t *testing.T) {
	r := newRig(t, lab.Options{})
	here, there := r.open(t), later(r.elsewhere(t))
	create(t, here, "vm1")
	grant(t, here, "vm1", kvm01, pool.Exclusive)
	must(t, r.Disconnect("kvm01", "vm1"))
	v, _ := r.Volume("vm1")
	meant, stay, err := there.ledger(asVolume(v)).Split(fence, claimsOf(t, there, v.ID))
	must(t, err)
	grant(t, r.elsewhere(t), "vm1", kvm02, pool.Handover)
	foreign := fence
	foreign.Host = pool.Host{Name: kvm01.Name, ID: kvm01.ID}
	must(t, there.disconnect(t.Context(), foreign, asVolume(v), meant, stay))
	wantConnections(t, r, "vm1 kvm02")
}

// Who cannot look does not say that the access has ended.
func TestFencingWhereTheArrayFallsSilent(t *testing.T) {
	r := newRig(t, lab.Options{})
	here, there := r.open(t), later(r.elsewhere(t))
	create(t, here, "vm1")
	grant(t, here, "vm1", kvm01, pool.Exclusive)
	r.RenameHost("kvm01", "kvm01-old")
	r.FailFrom(1, lab.Fault{Kind: lab.LostBefore, Method: http.MethodGet, Path: connections})
	if err := fencedBy(t, there, kvm01); !errors.Is(err, pool.ErrUnreachable) {
		t.Error(err)
	}
	r.ClearFaults()
	if holders, err := there.Holders(t.Context(), "vm1"); err != nil || len(holders) != 1 {
		t.Errorf("held by %v, %v", holders, err)
	}
}
