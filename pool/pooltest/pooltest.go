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
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

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
	// FoldsCase: the backend keeps upper and lower case in names, but cannot
	// have two names that differ in nothing else.
	FoldsCase bool
	// Prepared: the backend is no Provisioner, and the fixture's driver wraps it
	// so that volumes can be made for the suite. What that does is no matter of
	// the suite's.
	Prepared bool
	// NameIsIdentity: a volume that is made anew under an old name has the same
	// Identity, because its device says no more of itself than its name. What
	// tells the two apart is then their CreationID, which a deletion compares, and
	// who holds them: nothing of the old one may be left with the new one.
	NameIsIdentity bool
	// PeerOwnersUnknown: a host knows that another one holds a volume, but
	// neither for which domain nor in which mode, so that a Handover beside
	// somebody else's domain cannot be refused.
	PeerOwnersUnknown bool
}

// provisioning are the cases about making and removing volumes.
var provisioning = []string{"create again", "delete", "resize", "sizes", "processes race to create", "processes do everything"}

// Provider is what the suite tests: a backend that can make volumes.
type Provider interface {
	pool.Backend
	pool.Provisioner
}

// The hosts and domains of the suite. kvm01 and its twin have the same name,
// as machines do that were cloned without care.
var (
	kvm01 = host("kvm01", "6a0d6f0e-0000-4000-8000-000000000001")
	kvm02 = host("kvm02", "6a0d6f0e-0000-4000-8000-000000000002")
	twin  = host("kvm01", "6a0d6f0e-0000-4000-8000-000000000003")
	dom1  = pool.Owner{UUID: "d0000000-0000-4000-8000-000000000001", Name: "web"}
	dom2  = pool.Owner{UUID: "d0000000-0000-4000-8000-000000000002", Name: "db"}
)

// host is a machine whose NVMe name follows from its id.
func host(name, id string) pool.Host {
	return pool.Host{Name: name, ID: id, NQN: "nqn.2014-08.org.nvmexpress:uuid:" + id}
}

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
			if f.Prepared && slices.Contains(provisioning, c.name) {
				t.Skip("the backend makes no volumes")
			}
			b := f.backend(t)
			must(t, initialise(t.Context(), b))
			c.test(t, f, b)
		})
	}
}

// backend opens the place as it is.
func (f Fixture) backend(t *testing.T) Provider {
	t.Helper()
	b, err := f.Driver.Open(f.Pool, f.Settings, logrus.NewEntry(logrus.New()))
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

// same says whether two are one host. A holder need not know the host's NQN.
func same(a, b pool.Host) bool { return a.Name == b.Name && a.ID == b.ID }

func hostLabel(h pool.Host) string {
	if h.ID == twin.ID {
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
