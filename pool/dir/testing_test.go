package dir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
)

var (
	kvm01 = pool.Host{Name: "kvm01", ID: "id-1"}
	kvm02 = pool.Host{Name: "kvm02", ID: "id-2"}
	dom1  = pool.Owner{UUID: "d0000000-0000-4000-8000-000000000001", Name: "web"}
)

const mib = 1 << 20

func newPool(t testing.TB) *backend {
	t.Helper()
	b := poolAt(t, t.TempDir())
	must(t, b.Init(t.Context()))
	return b
}

// poolAt opens a directory as it is.
func poolAt(t testing.TB, path string) *backend {
	t.Helper()
	b, err := open("p", &Settings{Path: path, Granularity: sectorBytes}, logrus.NewEntry(logrus.New()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *backend) mustCreate(t testing.TB, name string) pool.Volume {
	t.Helper()
	v, err := b.Create(t.Context(), pool.CreateRequest{Name: name, SizeBytes: mib, CreationID: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (b *backend) file(parts ...string) string {
	return filepath.Join(append([]string{b.path}, parts...)...)
}

func request(h pool.Host, m pool.AccessMode) pool.GrantRequest {
	return pool.GrantRequest{Volume: "vol1", Host: h, BootID: "boot-1", Owner: dom1, Mode: m}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, what string, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: error %v; want one that says %q", what, err, says)
	}
}

// everyCall returns the error of each call for volume vol1.
func everyCall(t *testing.T, b *backend) map[string]error {
	ctx := t.Context()
	_, lookup := b.Lookup(ctx, "vol1")
	_, byPath := b.LookupPath(ctx, "/dev/volbridge/p/vol1")
	_, list := b.List(ctx)
	_, holders := b.Holders(ctx, "vol1")
	_, connection := b.Connection(ctx, "vol1", kvm01)
	_, grant := b.Grant(ctx, request(kvm01, pool.Exclusive))
	_, resize := b.Resize(ctx, "vol1", 2*mib)
	_, create := b.Create(ctx, pool.CreateRequest{Name: "vol1", SizeBytes: mib, CreationID: "mine"})
	return map[string]error{
		"Lookup": lookup, "LookupPath": byPath, "List": list, "Holders": holders, "Connection": connection, "Grant": grant,
		"Resize": resize, "Create": create, "Revoke": b.Revoke(ctx, pool.RevokeRequest{Volume: "vol1", Host: kvm01}), "Delete": b.Delete(ctx, "vol1", ""),
	}
}

// mount mounts something on a new folder for the time of the test.
func mount(t *testing.T, source, kind string, flags uintptr, options string) string {
	t.Helper()
	testenv.NeedRoot(t)
	dir := t.TempDir()
	must(t, unix.Mount(source, dir, kind, flags, options))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}
