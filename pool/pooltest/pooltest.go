// Package pooltest is the conformance suite of pool.Backend. A backend joins
// it with a test that says how to open a fresh pool:
//
//	func TestConformance(t *testing.T) {
//		pooltest.Run(t, func(t *testing.T) pooltest.Fixture {
//			return pooltest.Fixture{
//				Driver: dir.Driver, Pool: "p",
//				Settings: &dir.Settings{Path: t.TempDir(), Granularity: 512},
//			}
//		})
//	}
//
// Some cases run the test binary again, as other processes on the same pool;
// they reach it with the fixture's settings, which travel as JSON.
package pooltest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

// Fixture is an empty place for a pool that the suite may use as it likes. The
// suite calls Init where the backend is an Initialiser.
type Fixture struct {
	Driver   pool.Driver
	Pool     string
	Settings any // of Driver's type; must survive JSON
	// GoodNames are odd volume names that this backend must accept.
	GoodNames []string
}

// Provider is what the suite tests: a backend that can make volumes.
type Provider interface {
	pool.Backend
	pool.Provisioner
}

// The hosts and domains of the suite. kvm01 and its twin have the same name,
// as machines do that were cloned without care.
var (
	kvm01 = pool.Host{Name: "kvm01", ID: "6a0d6f0e-0000-4000-8000-000000000001"}
	kvm02 = pool.Host{Name: "kvm02", ID: "6a0d6f0e-0000-4000-8000-000000000002"}
	twin  = pool.Host{Name: "kvm01", ID: "6a0d6f0e-0000-4000-8000-000000000003"}
	dom1  = pool.Owner{UUID: "d0000000-0000-4000-8000-000000000001", Name: "web"}
	dom2  = pool.Owner{UUID: "d0000000-0000-4000-8000-000000000002", Name: "db"}
)

// Run runs the suite; open gives it a fresh place for each case.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	if runHelper(t, open) {
		return
	}
	t.Run("init", func(t *testing.T) { testInit(t, open(t)) })
	for _, c := range []struct {
		name string
		test func(*testing.T, Fixture, Provider)
	}{
		{"life of a volume", testLife},
		{"empty pool", testEmpty},
		{"create again", testCreateAgain},
		{"delete", testDelete},
		{"resize", testResize},
		{"list", testList},
		{"sizes", testSizes},
		{"bad names", testBadNames},
		{"odd names", testOddNames},
		{"paths", testPaths},
		{"grant and revoke", testGrantRevoke},
		{"rules of grants", testRules},
		{"handover", testHandover},
		{"two owners on one host", testTwoOwners},
		{"a clone of a host", testClone},
		{"a host after a reboot", testReboot},
		{"a host with a new name", testRenamed},
		{"revoke by boot", testRevokeByBoot},
		{"bad requests", testBadRequests},
		{"unknown volume", testUnknown},
		{"ended context", testEndedContext},
		{"lost reply", testLostReply},
		{"processes race for a grant", testRaceGrant},
		{"processes race to create", testRaceCreate},
		{"processes do everything", testRaceAll},
		{"a killed process", testKilled},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			b := f.backend(t)
			must(t, initialise(t.Context(), b))
			c.test(t, f, b)
		})
	}
}

// backend opens the place as it is.
func (f Fixture) backend(t *testing.T) Provider {
	t.Helper()
	b, err := f.Driver.Open(f.Pool, f.Settings)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := b.(Provider)
	if !ok {
		t.Fatalf("%T is no Provisioner", b)
	}
	return p
}

// mib is a size that every backend can have.
const mib = 1 << 20

// The boots of the suite's hosts.
const boot1, boot2, boot3 = "boot-1", "boot-2", "boot-3"

// create makes a volume that must be possible.
func create(t *testing.T, b Provider, name string) pool.Volume {
	t.Helper()
	v, err := b.Create(t.Context(), pool.CreateRequest{Name: name, SizeBytes: mib, CreationID: "by-" + name})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func grant(ctx context.Context, b pool.Backend, volume string, h pool.Host, o pool.Owner, m pool.AccessMode) error {
	_, err := b.Grant(ctx, pool.GrantRequest{Volume: volume, Host: h, BootID: boot1, Owner: o, Mode: m})
	return err
}

// revoke ends the host's access, whatever its boot.
func revoke(ctx context.Context, b pool.Backend, volume string, h pool.Host) error {
	return b.Revoke(ctx, pool.RevokeRequest{Volume: volume, Host: h})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds says who holds the volume, as "kvm01/web/exclusive kvm02/…".
func holds(t *testing.T, b pool.Backend, volume string) string {
	t.Helper()
	holders, err := b.Holders(t.Context(), volume)
	must(t, err)
	var out []string
	for _, h := range holders {
		out = append(out, fmt.Sprintf("%s/%s/%s", hostLabel(h.Host), h.Owner.Name, h.Mode))
		if h.Since.IsZero() {
			t.Errorf("%+v does not say since when", h)
		}
	}
	return strings.Join(out, " ")
}

func hostLabel(h pool.Host) string {
	if h == twin {
		return "twin"
	}
	return h.Name
}

func wantHolds(t *testing.T, b pool.Backend, volume, want string) {
	t.Helper()
	if got := holds(t, b, volume); got != want {
		t.Errorf("held by %q, want %q", got, want)
	}
}

func newID() string { return rand.Text() }
