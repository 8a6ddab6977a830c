package flasharray

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// elsewhere opens the pool as a process that knows nothing of the others does: one
// of another host, or after a boot.
func (r rig) elsewhere(t testing.TB) *backend {
	t.Helper()
	s := *r.settings
	s.SessionDir = t.TempDir()
	return rig{r.Served, &s}.open(t)
}

func heard(b *backend) *logtest.Hook {
	logger, hook := logtest.NewNullLogger()
	b.log = logrus.NewEntry(logger)
	return hook
}

// An administrator's connection stays although the host died, or lost the array,
// before it could note that the connection was there.
func TestConnectionOfAnAdministratorStaysAfterACrash(t *testing.T) {
	for name, c := range map[string]struct {
		asks, returns func(rig, testing.TB) *backend
	}{
		"nothing known":       {rig.elsewhere, rig.elsewhere},
		"connected meanwhile": {rig.open2, rig.open2}, // this host knows that it was not connected a moment ago
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lab.Options{})
			create(t, r.open(t), "vm1")
			r.connect(t, "vm1", "kvm01")
			b := c.asks(r, t)
			_, err := b.LookupPath(t.Context(), NVMeTCP.Path(serialOf(t, r, "vm1")))
			must(t, err)
			r.FailFrom(2, lab.Fault{Kind: lab.LostBefore, Method: http.MethodPut, Path: tagPath + "/batch"})
			if _, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive)); err == nil {
				t.Fatal("granted")
			}
			r.ClearFaults()
			b = c.returns(r, t)
			said := heard(b)
			must(t, b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: kvm01, BootIDs: []string{"boot-1"}}))
			wantConnections(t, r, "vm1 kvm01")
			if holders, err := b.Holders(t.Context(), "vm1"); err != nil || len(holders) != 0 {
				t.Errorf("held by %v, %v", holders, err)
			}
			if e := said.AllEntries(); len(e) == 0 || !strings.Contains(e[0].Message, "purevol disconnect --host kvm01 vm1") {
				t.Errorf("said %v", e)
			}
		})
	}
}

// open2 is open for tables.
func (r rig) open2(t testing.TB) *backend { return r.open(t) }

// A host that did not know whether it was connected writes down that the
// connection is its own, so that it can be ended by whoever fences it.
func TestConnectionOfUnknownOriginBecomesSure(t *testing.T) {
	r := newRig(t, lab.Options{})
	create(t, r.open(t), "vm1")
	v, _ := r.Volume("vm1")
	b := r.open(t)
	b.forgetKey(freeKey(asVolume(v)))
	start(t, b, NVMeTCP.Path(Serial(v.Serial)), kvm01)
	if got := claimsOf(t, b, v.ID); len(got) != 1 || got[0].Place != (claims.Place{Name: "kvm01"}) {
		t.Errorf("claims %+v", got)
	}
	revoke(t, r.elsewhere(t), "vm1", kvm01)
	wantConnections(t, r)
}

// Of a guest that arrives the array counts the source's connection: that says
// nothing of this host's, whose claim is sure before it is connected.
func TestHandoverIsSureBeforeItConnects(t *testing.T) {
	r := newRig(t, lab.Options{})
	create(t, r.open(t), "vm1")
	grant(t, r.open(t), "vm1", kvm01, pool.Exclusive)
	v, _ := r.Volume("vm1")
	b := r.elsewhere(t)
	r.FailFrom(1, lab.Fault{Kind: lab.LostAfter, Method: http.MethodPost, Path: connections})
	if _, err := b.Grant(t.Context(), request("vm1", kvm02, dom1, pool.Handover)); err == nil {
		t.Fatal("granted")
	}
	r.ClearFaults()
	for _, c := range claimsOf(t, b, v.ID) {
		if c.Place.Mark == unsure {
			t.Errorf("claim %+v", c)
		}
	}
	revoke(t, b, "vm1", kvm02)
	wantConnections(t, r, "vm1 kvm01")
}

// A claim that is unsure stays so when the grant is repeated, and the device is
// said to stay.
func TestUnsureClaimIsRepeated(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	v, _ := r.Volume("vm1")
	r.connect(t, "vm1", "kvm01")
	c := claims.Claim{Key: claims.NewKey(kvm01.ID, b.now()), Place: claims.Place{Name: "kvm01", Mark: unsure}, Holder: pool.Holder{
		Host: kvm01, Owner: dom1, Mode: pool.Exclusive, Since: b.now(), BootID: "boot-1"}}
	putClaim(t, b, v.ID, c)
	if got := grant(t, b, "vm1", kvm01, pool.Exclusive); !got.Lasting {
		t.Error("the device is not said to stay")
	}
	if got := claimsOf(t, b, v.ID); len(got) != 1 || got[0].Place.Mark != unsure {
		t.Errorf("claims %+v", got)
	}
	revoke(t, b, "vm1", kvm01)
	wantConnections(t, r, "vm1 kvm01")
}
