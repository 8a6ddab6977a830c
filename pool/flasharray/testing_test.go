package flasharray

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/internal/units"
	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/flasharray/flasharraytest"
	"github.com/volbridge/volbridge/pool"
)

// TestMain looks for leaks, but not where pooltest runs this program again: it
// cannot close the connections of its backends.
func TestMain(m *testing.M) {
	if os.Getenv("VOLBRIDGE_POOLTEST_JOB") != "" {
		os.Exit(m.Run())
	}
	// Where a fault is repeated a test does little but wait.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var (
	kvm01 = testHost("kvm01", "1")
	kvm02 = testHost("kvm02", "2")
	dom1  = pool.Owner{UUID: "d0000000-0000-4000-8000-000000000001", Name: "web"}
)

const mib = units.MiB

func testHost(name, n string) pool.Host {
	id := "6a0d6f0e-0000-4000-8000-00000000000" + n
	return pool.Host{Name: name, ID: id, NQN: "nqn.2014-08.org.nvmexpress:uuid:" + id}
}

// rig is a stand-in, and a pool on it.
type rig struct {
	flasharraytest.Served
	settings *Settings
}

func newRig(t testing.TB, o lab.Options) rig {
	t.Helper()
	if o.Portals == nil {
		o.Portals = []string{"192.0.2.1", "192.0.2.2"}
	}
	served := flasharraytest.Start(t, o)
	for _, h := range []pool.Host{kvm01, kvm02} {
		served.AddHost(h.Name, h.NQN)
	}
	served.AddHost("kvm01-twin", testHost("", "3").NQN)
	members := []string{kvm01.Name, kvm02.Name, "kvm01-twin"}
	for i := range 10 { // those of pooltest that race or are killed
		name := fmt.Sprintf("racer%02d", i)
		served.AddHost(name, fmt.Sprintf("nqn.2014-08.org.nvmexpress:uuid:6a0d6f0e-0000-4000-8000-1000000000%02d", i))
		members = append(members, name)
	}
	served.AddGroup("group1", members...)
	served.AddPod("pod1", 0)
	s := newSettings()
	dir := t.TempDir()
	s.Address = strings.TrimPrefix(served.URL, "https://")
	s.APITokenFile = filepath.Join(dir, "token")
	s.CAFile = served.CAFile
	s.SessionDir = filepath.Join(dir, "run")
	s.CallTimeout = units.Duration(time.Minute) // the machine may be busy
	must(t, os.WriteFile(s.APITokenFile, []byte(lab.TestToken+"\n"), 0o600))
	return rig{served, s}
}

// open opens the pool as another process would.
func (r rig) open(t testing.TB) *backend {
	t.Helper()
	b, err := open("flash", r.settings, testLog())
	must(t, err)
	t.Cleanup(b.array.Close)
	return b
}

// calls are those since the last time, but for logins.
func (r rig) calls() (list []string) {
	for _, c := range r.Calls() {
		if c.Path != "/login" && c.Path != "/api/api_version" {
			list = append(list, c.Method+" "+c.Path)
		}
	}
	r.ForgetCalls()
	return list
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

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	for _, s := range says {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%s: error %v; want one that says %q", what, err, s)
		}
	}
}

func testLog() *logrus.Entry { return logrus.NewEntry(logrus.New()) }
