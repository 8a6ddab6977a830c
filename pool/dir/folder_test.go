package dir

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/pool"
)

// A file system that is not mounted must not look like a pool, nor like one
// whose volumes are gone.
func TestDirectoryThatIsNoPool(t *testing.T) {
	b := poolAt(t, t.TempDir())
	calls := everyCall(t, b)
	calls["Check"] = b.Check(t.Context())
	_, calls["Capacity"] = b.Capacity(t.Context())
	for what, err := range calls {
		if !errors.Is(err, pool.ErrNoPool) || errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
		wantError(t, what, err, "mount the file system that belongs there")
		wantError(t, what, err, "`volbridge pool init p`")
	}
	if got := names(t, b.path); got != "" {
		t.Errorf("the directory holds %s", got)
	}
}

func TestInit(t *testing.T) {
	b := poolAt(t, t.TempDir())
	// What a file system and an Init that died leave is no obstacle.
	must(t, os.Mkdir(b.file("lost+found"), 0o700), os.WriteFile(b.file(tempPrefix+"x"), []byte("{"), 0o600))
	must(t, b.Init(t.Context()), b.Check(t.Context()), os.Remove(b.file(tempPrefix+"x")))
	first := b.marker(t)
	v := b.mustCreate(t, "vol1")
	must(t, os.WriteFile(b.file("notes"), nil, 0o600), b.Init(t.Context()), b.Check(t.Context()))
	if again := b.marker(t); again != first {
		t.Errorf("marked %+v, the second time %+v", first, again)
	}
	if found, err := b.Lookup(t.Context(), "vol1"); err != nil || found != v {
		t.Errorf("after the second Init: %+v, %v", found, err)
	}
	if got := names(t, b.path); got != "lost+found notes vol1 volbridge-pool.json" {
		t.Errorf("the directory holds %s", got)
	}
	if got := names(t, b.file("vol1")); got != "disk.raw grants lock volume.json" {
		t.Errorf("the volume holds %s", got)
	}
}

func (b *backend) marker(t *testing.T) (m marker) {
	t.Helper()
	root, err := b.openDir()
	must(t, err)
	defer root.Close()
	must(t, readJSON(root, markerName, &m))
	return m
}

// Many who make one pool at once make one: what each sees after its Init is
// what all see.
func TestInitAtOnce(t *testing.T) {
	for range 20 {
		b := poolAt(t, t.TempDir())
		var all sync.WaitGroup
		start := make(chan struct{})
		errs, seen := make([]error, 8), make([]string, 8)
		for i := range errs {
			all.Go(func() {
				<-start
				errs[i] = b.Init(t.Context())
				text, err := os.ReadFile(b.file(markerName))
				errs[i], seen[i] = errors.Join(errs[i], err), string(text)
			})
		}
		close(start)
		all.Wait()
		must(t, errs...)
		if seen = slices.Compact(seen); len(seen) != 1 {
			t.Fatalf("markers %q", seen)
		}
		if got := names(t, b.path); got != markerName {
			t.Fatalf("the directory holds %s", got)
		}
	}
}

func TestDirectoryOfSomebodyElse(t *testing.T) {
	b := poolAt(t, t.TempDir())
	must(t, os.WriteFile(b.file("letter.odt"), nil, 0o600))
	err := b.Init(t.Context())
	wantError(t, "Init", err, `holds other files ("letter.odt")`)
	_, create := b.Create(t.Context(), pool.CreateRequest{Name: "vol1", SizeBytes: mib})
	for what, err := range map[string]error{"Init": err, "Create": create, "Check": b.Check(t.Context())} {
		if !errors.Is(err, pool.ErrNoPool) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := names(t, b.path); got != "letter.odt" {
		t.Errorf("the directory holds %s", got)
	}
}

func TestDirectoryThatIsGone(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	must(t, os.RemoveAll(b.path))
	for what, err := range everyCall(t, b) {
		wantError(t, what, err, b.path)
		if errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%s says that the volume does not exist: %v", what, err)
		}
	}
	wantError(t, "Check", b.Check(t.Context()), "no such file")
	wantError(t, "Init", b.Init(t.Context()), "no such file")
	if _, err := os.Stat(b.path); err == nil {
		t.Error("the directory was made")
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	ro := mount(t, b.path, "", unix.MS_BIND, "")
	must(t, unix.Mount("", ro, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	r := poolAt(t, ro)
	calls := everyCall(t, r)
	_, calls["Create"] = r.Create(t.Context(), pool.CreateRequest{Name: "vol2", SizeBytes: mib})
	calls["Check"] = r.Check(t.Context())
	for what, err := range calls {
		switch what {
		case "Grant", "Resize", "Revoke", "Delete", "Create", "Check":
			wantError(t, what, err, "mount or export it read-write")
		default:
			must(t, err)
		}
	}
}

func TestFullFileSystem(t *testing.T) {
	dir := mount(t, "none", "tmpfs", 0, "nr_inodes=12")
	b := poolAt(t, dir)
	err := b.Init(t.Context())
	for n := 0; err == nil && n < 20; n++ {
		_, err = b.Create(t.Context(), pool.CreateRequest{Name: "vol" + strings.Repeat("x", n), SizeBytes: mib})
	}
	if !errors.Is(err, pool.ErrNoSpace) {
		t.Fatalf("%v", err)
	}
	if got := names(t, dir); strings.Contains(got, ".") && strings.Contains(got, creatingPrefix) {
		t.Errorf("left behind: %s", got)
	}
	if volumes, err := b.List(t.Context()); err != nil || len(volumes) == 0 {
		t.Errorf("%v, %v", volumes, err)
	}
}

func TestFileTooLarge(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	const huge = 1 << 62
	_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vol2", SizeBytes: huge})
	if !errors.Is(err, pool.ErrNoSpace) {
		t.Errorf("Create: %v", err)
	}
	if _, err := b.Resize(t.Context(), "vol1", huge); !errors.Is(err, pool.ErrNoSpace) {
		t.Errorf("Resize: %v", err)
	}
	if v, err := b.Lookup(t.Context(), "vol1"); err != nil || v.SizeBytes != mib {
		t.Errorf("after the refused resize: %+v, %v", v, err)
	}
	if got := names(t, b.path); got != "vol1 volbridge-pool.json" {
		t.Errorf("left behind: %s", got)
	}
}

func TestMountpoint(t *testing.T) {
	plain := newPool(t)
	plain.mustCreate(t, "vol1")
	plain.mountpoint = true
	for what, err := range everyCall(t, plain) {
		wantError(t, what, err, "nothing is mounted on "+plain.path)
	}
	bare := poolAt(t, t.TempDir())
	bare.mountpoint = true
	wantError(t, "Init", bare.Init(t.Context()), "nothing is mounted on "+bare.path)
	if got := names(t, bare.path); got != "" {
		t.Errorf("the directory holds %s", got)
	}
	mounted := poolAt(t, mount(t, plain.path, "", unix.MS_BIND, ""))
	mounted.mountpoint = true
	if _, err := mounted.Lookup(t.Context(), "vol1"); err != nil {
		t.Error(err)
	}
	must(t, mounted.Init(t.Context()))
}

func TestMarkerOfNewerVersion(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	must(t, os.WriteFile(b.file(markerName), []byte(`{"format": 2, "shards": 7}`), 0o600))
	for what, err := range everyCall(t, b) {
		wantError(t, what, err, "update volbridge on this host")
	}
	wantError(t, "Check", b.Check(t.Context()), "update volbridge on this host")
	wantError(t, "Init", b.Init(t.Context()), "update volbridge on this host")
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		s    Settings
		keys string
	}{
		{Settings{Path: "/srv/p", Granularity: 512}, ""},
		{Settings{Path: "/srv/p", Granularity: 8 << 20, Mountpoint: true}, ""},
		{Settings{Granularity: 512}, "path"},
		{Settings{Path: "srv/p", Granularity: 512}, "path"},
		{Settings{Path: "/srv\n/p", Granularity: 512}, "path"},
		{Settings{Path: "/srv/p"}, "granularity"},
		{Settings{Path: "/srv/p", Granularity: 513}, "granularity"},
		{Settings{Path: "/srv/p", Granularity: -512}, "granularity"},
	} {
		var keys []string
		for key := range Driver.Check(&c.s) {
			keys = append(keys, key)
		}
		if got := strings.Join(keys, " "); got != c.keys {
			t.Errorf("%+v: mistakes in %q, want %q", c.s, got, c.keys)
		}
		if _, err := Driver.Open("p", &c.s, nil); (err == nil) != (c.keys == "") {
			t.Errorf("%+v: opened: %v", c.s, err)
		}
	}
	if s := Driver.Settings().(*Settings); s.Granularity != 512 {
		t.Errorf("defaults %+v", s)
	}
	for _, name := range []string{"", "a/b", "..", "a\nb"} {
		if _, err := Driver.Open(name, &Settings{Path: "/srv/p", Granularity: 512}, nil); err == nil {
			t.Errorf("pool name %q was accepted", name)
		}
	}
	if _, err := Driver.Open("p", "a string", nil); err == nil {
		t.Error("foreign settings were accepted")
	}
}
