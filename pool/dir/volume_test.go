package dir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/lockfile"
	"github.com/volbridge/volbridge/pool"
)

// Whatever somebody plants or breaks in a volume's folder: nothing outside is
// touched, nothing is taken for absent, and the error names the file.
func TestDamagedVolume(t *testing.T) {
	rewrite := func(b *backend, change func(m map[string]any)) error {
		data, err := os.ReadFile(b.file("vol1", metaName))
		m := map[string]any{}
		err = errors.Join(err, json.Unmarshal(data, &m))
		change(m)
		data, marshal := json.Marshal(m)
		return errors.Join(err, marshal, os.WriteFile(b.file("vol1", metaName), data, 0o600))
	}
	outside := func(t *testing.T) string {
		dir := t.TempDir()
		must(t, os.WriteFile(dir+"/disk.raw", make([]byte, mib), 0o600))
		return dir
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, b *backend) error
		says   string
	}{
		{"folder is a link out of the pool", func(t *testing.T, b *backend) error {
			return errors.Join(os.Rename(b.file("vol1"), outside(t)+"/vol1"), os.Symlink(outside(t), b.file("vol1")))
		}, "is no folder"},
		{"folder is a link to another volume", func(t *testing.T, b *backend) error {
			b.mustCreate(t, "vol2")
			return errors.Join(os.RemoveAll(b.file("vol1")), os.Symlink("vol2", b.file("vol1")))
		}, "is no folder"},
		{"folder is a file", func(t *testing.T, b *backend) error {
			return errors.Join(os.RemoveAll(b.file("vol1")), os.WriteFile(b.file("vol1"), nil, 0o600))
		}, "is no folder"},
		{"disk is a link out of the pool", func(t *testing.T, b *backend) error {
			return errors.Join(os.Remove(b.file("vol1", diskName)), os.Symlink(outside(t)+"/disk.raw", b.file("vol1", diskName)))
		}, "could lead out of the pool"},
		{"disk is a device", func(t *testing.T, b *backend) error {
			return errors.Join(os.Remove(b.file("vol1", diskName)), os.Symlink("/dev/sda", b.file("vol1", diskName)))
		}, "could lead out of the pool"},
		{"disk is gone", func(t *testing.T, b *backend) error { return os.Remove(b.file("vol1", diskName)) }, "disk.raw"},
		{"disk is shorter", func(t *testing.T, b *backend) error { return os.Truncate(b.file("vol1", diskName), mib-512) }, "restore the file"},
		{"disk is longer", func(t *testing.T, b *backend) error { return os.Truncate(b.file("vol1", diskName), mib+512) }, "truncate -s 1048576 "},
		{"meta is gone", func(t *testing.T, b *backend) error { return os.Remove(b.file("vol1", metaName)) }, "has no volume.json"},
		{"meta is empty", func(t *testing.T, b *backend) error { return os.Truncate(b.file("vol1", metaName), 0) }, "volume.json is damaged"},
		{"meta is cut off", func(t *testing.T, b *backend) error { return os.Truncate(b.file("vol1", metaName), 40) }, "volume.json is damaged"},
		{"meta is a link", func(t *testing.T, b *backend) error {
			return errors.Join(os.Rename(b.file("vol1", metaName), b.file("vol1", "x")), os.Symlink("x", b.file("vol1", metaName)))
		}, "no regular file"},
		{"meta has an unknown field", func(t *testing.T, b *backend) error {
			return rewrite(b, func(m map[string]any) { m["encrypted"] = true })
		}, "unknown field"},
		{"meta is of a newer version", func(t *testing.T, b *backend) error {
			return rewrite(b, func(m map[string]any) { m["format"] = 2 })
		}, "update volbridge"},
		{"meta has no uuid", func(t *testing.T, b *backend) error {
			return rewrite(b, func(m map[string]any) { m["uuid"] = "../../x" })
		}, "is no UUID"},
		{"meta has no size", func(t *testing.T, b *backend) error {
			return rewrite(b, func(m map[string]any) { m["size_bytes"] = -5 })
		}, "no possible size"},
		{"folder was copied", func(t *testing.T, b *backend) error {
			return rewrite(b, func(m map[string]any) { m["name"] = "vol0" })
		}, `belongs to a volume named "vol0"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newPool(t)
			b.mustCreate(t, "vol1")
			must(t, c.damage(t, b))
			before := names(t, b.path)
			for what, err := range everyCall(t, b) {
				// Revoke goes by the grant alone; List leaves out what is no volume.
				if what == "Revoke" && err == nil || what == "List" && err == nil {
					continue
				}
				if errors.Is(err, pool.ErrNotFound) {
					t.Errorf("%s says that it does not exist: %v", what, err)
				}
				wantError(t, what, err, c.says)
			}
			if after := names(t, b.path); after != before {
				t.Errorf("the directory held %s, now %s", before, after)
			}
		})
	}
}

func TestListShowsWholeVolumesBesideDamagedOnes(t *testing.T) {
	b := newPool(t)
	for _, name := range []string{"vol1", "vol2", "vol3"} {
		b.mustCreate(t, name)
	}
	must(t, os.Mkdir(b.file("backup"), 0o700), os.WriteFile(b.file("notes"), nil, 0o600), os.Truncate(b.file("vol2", metaName), 0))
	volumes, err := b.List(t.Context())
	wantError(t, "List", err, "volume vol2: ")
	if len(volumes) != 2 || volumes[0].Name != "vol1" || volumes[1].Name != "vol3" {
		t.Errorf("listed %+v", volumes)
	}
	wantError(t, "Check", b.Check(t.Context()), "volume vol2: ")
}

func TestForeignFolderTakesTheName(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "other")
	must(t, os.Mkdir(b.file("vol1"), 0o700))
	_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vol1", SizeBytes: mib, CreationID: "mine"})
	if !errors.Is(err, pool.ErrExists) {
		t.Errorf("Create: %v", err)
	}
}

// A resize that is cut off at any step leaves a volume of one of the two
// sizes, and the same call completes it.
func TestResizeCutOff(t *testing.T) {
	for _, c := range []struct {
		name      string
		fileBytes int64
	}{{"before the file grew", mib}, {"after the file grew", 4 * mib}} {
		t.Run(c.name, func(t *testing.T) {
			b := newPool(t)
			b.mustCreate(t, "vol1")
			root, err := os.OpenRoot(b.file("vol1"))
			must(t, err)
			defer root.Close()
			var m meta
			must(t, readJSON(root, metaName, &m))
			m.GrowingToBytes = 4 * mib
			must(t, writeJSON(root, metaName, m), os.Truncate(b.file("vol1", diskName), c.fileBytes))

			v, err := b.Lookup(t.Context(), "vol1")
			if err != nil || v.SizeBytes != c.fileBytes {
				t.Errorf("cut off: %+v, %v", v, err)
			}
			if v, err = b.Resize(t.Context(), "vol1", 4*mib); err != nil || v.SizeBytes != 4*mib {
				t.Errorf("repeated: %+v, %v", v, err)
			}
			var after meta
			must(t, readJSON(root, metaName, &after))
			if after.SizeBytes != 4*mib || after.GrowingToBytes != 0 {
				t.Errorf("in the end %+v", after)
			}
		})
	}
}

// One that could not get its name back while somebody was granted it stays.
func TestHeldLeftoverStays(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	_, err := b.Grant(t.Context(), request(kvm01, pool.Exclusive))
	must(t, err, os.Rename(b.file("vol1"), b.file(".deleted-1")))
	var said bytes.Buffer
	b.log.Logger.SetOutput(&said)
	b.mustCreate(t, "vol2")
	must(t, b.Delete(t.Context(), "vol2", ""))
	if got := names(t, b.path); got != ".deleted-1 volbridge-pool.json" {
		t.Errorf("left: %s", got)
	}
	if got := names(t, b.file(".deleted-1")); !strings.Contains(got, diskName) {
		t.Errorf("its data is gone: %s", got)
	}
	if !strings.Contains(said.String(), ".deleted-1 holds the data of a volume") || !strings.Contains(said.String(), kvm01.Name) {
		t.Errorf("nobody was told: %s", &said)
	}
}

// What a create or delete that died has left is removed by the next one; what
// a living one is at work on is not.
func TestLeftovers(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	for _, left := range []string{".creating-1", ".deleted-1", ".creating-2", ".creating-alive"} {
		must(t, os.MkdirAll(b.file(left, grantsName), 0o700), os.WriteFile(b.file(left, diskName), nil, 0o600))
		if left != ".creating-2" {
			must(t, os.WriteFile(b.file(left, lockName), nil, 0o600))
		}
	}
	must(t, os.Mkdir(b.file(".creating-3"), 0o700))
	release, err := lockfile.TryAcquire(b.file(".creating-alive", lockName))
	must(t, err)
	b.mustCreate(t, "vol2")
	// .creating-2 lost its lock while it was being removed or never had one:
	// whoever is at work on it has not finished, so it stays while it is not empty.
	if got := names(t, b.path); got != ".creating-2 .creating-alive vol1 vol2 volbridge-pool.json" {
		t.Errorf("left: %s", got)
	}
	must(t, release(), b.Delete(t.Context(), "vol2", ""))
	if got := names(t, b.path); got != ".creating-2 vol1 volbridge-pool.json" {
		t.Errorf("left: %s", got)
	}
}

func TestLockIsWaitedForUntilTheDeadline(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	release, err := lockfile.TryAcquire(b.file("vol1", lockName))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := b.Grant(ctx, request(kvm01, pool.Exclusive)); done <- err }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Grant: %v", err)
	}
	must(t, release())
	if holders, err := b.Holders(t.Context(), "vol1"); err != nil || len(holders) != 0 {
		t.Errorf("holders %v, %v", holders, err)
	}
}

func TestMissingLockFile(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	must(t, os.Remove(b.file("vol1", lockName)))
	_, err := b.Grant(t.Context(), request(kvm01, pool.Exclusive))
	wantError(t, "Grant", err, "make it again with touch")
	wantError(t, "Delete", b.Delete(t.Context(), "vol1", ""), "make it again with touch")
}

func TestVolumeIsSparse(t *testing.T) {
	b := newPool(t)
	_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vol1", SizeBytes: 1 << 40})
	must(t, err)
	s, err := b.openPool()
	must(t, err)
	defer s.Close()
	info, err := s.Lstat(filepath.Join("vol1", diskName))
	must(t, err)
	if info.Size() != 1<<40 {
		t.Errorf("size %d", info.Size())
	}
	if mode := info.Mode(); mode != 0o600 {
		t.Errorf("mode %v", mode)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "a+b_c.d-e=f@g:h", "@x", strings.Repeat("a", 100)} {
		must(t, checkName(name))
	}
	for _, name := range []string{"", ".", "..", ".a", "-a", "a/b", "a b", "ä", "a\n", strings.Repeat("a", 101), markerName, "lost+found"} {
		if err := checkName(name); !errors.Is(err, pool.ErrInvalidName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"a", "..", "a/b", "-x", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkName(name) != nil {
			return
		}
		if filepath.Base(name) != name || filepath.Join("/p", name) != "/p/"+name || !filepath.IsLocal(name) {
			t.Errorf("%q is not one element of a path", name)
		}
	})
}
