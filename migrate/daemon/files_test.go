package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/migrate"
)

// opened is libvirt's own test driver, which runs in this process.
func opened(t *testing.T) *Daemon {
	t.Helper()
	d, err := Open(t.Context(), "test:///default")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestUsersOf(t *testing.T) {
	d := opened(t)
	pool, err := d.conn.LookupStoragePoolByName("default-pool")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Free()
	vol, err := pool.StorageVolCreateXML(`<volume><name>web.img</name><capacity>1048576</capacity></volume>`, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer vol.Free()
	defer vol.Delete(0)
	inPool, err := vol.GetPath()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kind, source, path string
		want               bool
		problem            string
	}{
		"its path":               {"file", "file='/i/web.img'", "/i/web.img", true, ""},
		"another path":           {"file", "file='/i/web.img.old'", "/i/web.img", false, ""},
		"a part of it":           {"file", "file='/i/web.img'", "/i/web", false, ""},
		"double slashes":         {"file", "file='/i//web.img'", "/i/web.img", true, ""},
		"dots in what is asked":  {"block", "dev='/dev/x'", "/dev/./y/..//x", true, ""},
		"a volume":               {"volume", "pool='default-pool' volume='web.img'", inPool, true, ""},
		"a volume, with slashes": {"volume", "pool='default-pool' volume='web.img'", "/" + inPool, true, ""},
		"a volume elsewhere":     {"volume", "pool='default-pool' volume='web.img'", "/i/web.img", false, ""},
		"a pool that is unknown": {"volume", "pool='gone' volume='web.img'", "/i/web.img", false, "storage pool gone"},
		"its pool has no device": {"volume", "pool='gone' volume='web.img'", "/dev/volbridge/fast/web", false, ""},
		"a volume that is gone":  {"volume", "pool='default-pool' volume='old.img'", "/i/web.img", false, "old.img"},
	} {
		t.Run(name, func(t *testing.T) {
			dom, err := d.conn.DomainDefineXMLFlags(fmt.Sprintf(`<domain type='test'><name>shop</name><memory>8192</memory><os><type>hvm</type></os>
<devices><disk type='%s' device='disk'><source %s/><target dev='vda' bus='virtio'/></disk></devices></domain>`, c.kind, c.source), libvirt.DomainDefineFlags(0))
			if err != nil {
				t.Fatal(err)
			}
			defer dom.Free()
			defer dom.Undefine()
			users, err := d.UsersOf(t.Context(), c.path)
			if slices.Contains(users, "shop") != c.want {
				t.Errorf("%v use %s", users, c.path)
			}
			if c.problem == "" && err != nil {
				t.Error(err)
			}
			if c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem) || !strings.Contains(err.Error(), "domain shop: disk vda")) {
				t.Errorf("%v, want words of %s", err, c.problem)
			}
		})
	}
}

func TestRemoveFile(t *testing.T) {
	d := opened(t)
	path := filepath.Join(t.TempDir(), "web.img")
	write := func() string {
		t.Helper()
		if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
			t.Fatal(err)
		}
		id, err := d.FileIdentity(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if id == "" {
			t.Skip("this file system does not know when a file was made")
		}
		return id
	}
	first := write()
	if same := write(); same != first {
		t.Errorf("after a write it is %s, was %s", same, first)
	}
	// Kept under another name, so that its inode is not free for the next one,
	// and then not.
	for _, away := range []func() error{
		func() error { return os.Rename(path, path+".old") },
		func() error { return os.Remove(path) },
	} {
		first := write()
		if err := away(); err != nil {
			t.Fatal(err)
		}
		if second := write(); second == first {
			t.Fatalf("both are %s", first)
		}
		if err := d.RemoveFile(t.Context(), path, first); !errors.Is(err, migrate.ErrReplaced) {
			t.Errorf("%v, want it refused", err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	now := write()
	for range 2 { // the second time it has gone
		if err := d.RemoveFile(t.Context(), path, now); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
	}
	write()
	if err := d.RemoveFile(t.Context(), path, ""); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// Of a file on another host nothing is known.
func TestFileElsewhere(t *testing.T) {
	d := &Daemon{uri: "qemu+ssh://kvm02/system"}
	if id, err := d.FileIdentity(t.Context(), os.Args[0]); id != "" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
}
