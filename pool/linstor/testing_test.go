package linstor

import (
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/volbridge/volbridge/internal/units"
	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
)

// TestMain looks for leaks, but not where pooltest runs this program again: it
// cannot close the connections of its backends.
func TestMain(m *testing.M) {
	if os.Getenv("VOLBRIDGE_POOLTEST_JOB") != "" {
		os.Exit(m.Run())
	}
	// Where a fault is repeated a test does little but wait.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var (
	kvm01 = testHost("kvm01", "1")
	kvm02 = testHost("kvm02", "2")
	store = testHost("store1", "4")
	dom1  = pool.Owner{UUID: "d0000000-0000-4000-8000-000000000001", Name: "web"}
)

const mib = units.MiB

func testHost(name, n string) pool.Host {
	return pool.Host{Name: name, ID: "6a0d6f0e-0000-4000-8000-00000000000" + n}
}

// rig is a stand-in, and a pool on it: two nodes with storage, the rest without.
type rig struct {
	*lab.Controller
	settings *Settings
}

func newRig(t testing.TB, o lab.Options) rig {
	t.Helper()
	c := lab.New(o)
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	for _, n := range []string{"store1", "store2"} {
		c.AddNode(n, lab.Pool{Name: "thin", Kind: "LVM_THIN", TotalKiB: 1 << 30})
	}
	for _, n := range []string{"kvm01", "kvm02", "kvm03", "other"} {
		c.AddNode(n)
	}
	for i := range 10 { // those of pooltest that race or are killed
		c.AddNode(fmt.Sprintf("racer%02d", i))
	}
	c.AddGroup(lab.Group{Name: "vms", Pools: []string{"thin"}})
	set := newSettings()
	set.Controllers = []string{s.URL}
	set.ResourceGroup = "vms"
	set.Prefix = "vb-"
	set.CallTimeout = units.Duration(time.Minute) // the machine may be busy
	return rig{c, set}
}

// giveStorage lets nodes have replicas, which are not placed there unasked.
func (r rig) giveStorage(nodes ...string) {
	for _, n := range nodes {
		r.AddNode(n, lab.Pool{Name: "local", Kind: "LVM_THIN", TotalKiB: 1 << 30})
	}
}

// open opens the pool as another process would.
func (r rig) open(t testing.TB) *backend {
	t.Helper()
	b, err := open("drbd", r.settings, logrus.NewEntry(logrus.New()))
	must(t, err)
	t.Cleanup(b.linstor.Close)
	return b
}

// calls are those since the last time.
func (r rig) calls() (list []string) {
	for _, c := range r.Calls() {
		list = append(list, c.String())
	}
	r.ForgetCalls()
	return list
}

// volume is what the stand-in has of a volume.
func (r rig) volume(t testing.TB, name string) lab.Definition {
	t.Helper()
	d, ok := r.Definition(r.settings.Prefix + name)
	if !ok {
		t.Fatalf("the stand-in has no %s", name)
	}
	return d
}

// wantOn compares the nodes of a volume, and where two primaries are set.
func (r rig) wantOn(t testing.TB, what, name, nodes, set string) {
	t.Helper()
	d := r.volume(t, name)
	if got := strings.Join(d.Resources, ", "); got != nodes {
		t.Errorf("%s: on %q, want %q", what, got, nodes)
	}
	if got := strings.Join(d.Set, ", "); got != set {
		t.Errorf("%s: two primaries set on %q, want %q", what, got, set)
	}
}

func create(t testing.TB, b *backend, name string) pool.Volume {
	t.Helper()
	v, err := b.Create(t.Context(), pool.CreateRequest{Name: name, SizeBytes: mib, CreationID: "mine"})
	must(t, err)
	return v
}

func request(volume string, h pool.Host, o pool.Owner, m pool.AccessMode) pool.GrantRequest {
	return pool.GrantRequest{Volume: volume, Host: h, BootID: "boot-1", Owner: o, Mode: m}
}

// announced asks for the volume for a guest that is to come.
func announced(h pool.Host) pool.GrantRequest {
	r := request("vm1", h, dom1, pool.Handover)
	r.Pending = true
	return r
}

func grant(t testing.TB, b *backend, volume string, h pool.Host, m pool.AccessMode) pool.Connection {
	t.Helper()
	c, err := b.Grant(t.Context(), request(volume, h, dom1, m))
	must(t, err)
	return c
}

func revoke(t testing.TB, b *backend, volume string, h pool.Host) {
	t.Helper()
	must(t, b.Revoke(t.Context(), pool.RevokeRequest{Volume: volume, Host: h}))
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, what string, err error, says ...string) {
	t.Helper()
	if i := slices.IndexFunc(says, func(s string) bool { return err == nil || !strings.Contains(err.Error(), s) }); i >= 0 {
		t.Errorf("%s: error %v; want one that says %q", what, err, says[i])
	}
}
