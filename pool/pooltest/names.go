package pooltest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

// badNames are none of any backend: they would be another path, another
// command line, or more than one line.
var badNames = []string{
	"", "/", "a/b", "/etc/passwd", "..", ".", "../other", "a/../../b", "a\nb", "a\n", "\n", "a\x00b", "a\tb", "a\x1b[2Jb", "a\x7fb",
	"-rf", "--help", strings.Repeat("a", 300), strings.Repeat("a", 100000), "a\xffb",
}

// oddNames may be refused or accepted; what is accepted must work.
var oddNames = []string{
	"a", "0", "A", "a.b", "a..b", "a_b", "a-b", "a+b", "a=b", "a@b", "a:b", "_a", "@a", "a b", " a", "a ", "größe", "卷", "e\u0301", "a'b", `a"b`,
	`a\b`, "a$b", "a;b", "a|b", "a*b", "a%b", "a&b", "a<b", "a>b", "{a}", "#a", "~a", "!a", ".a", "a.", "a~", "lost+found", "con",
	"volume.json", "lock", "grants", "disk.raw", "volbridge-pool.json", strings.Repeat("a", 63), strings.Repeat("a", 100), strings.Repeat("a", 200),
}

// eachCall calls everything that takes a name.
func eachCall(t *testing.T, b Provider, name string) map[string]error {
	ctx := t.Context()
	_, lookup := b.Lookup(ctx, name)
	_, connection := b.Connection(ctx, name, kvm01)
	_, holders := b.Holders(ctx, name)
	_, resize := b.Resize(ctx, name, mib)
	return map[string]error{
		"Lookup": lookup, "Connection": connection, "Holders": holders, "Resize": resize,
		"Grant":  grant(ctx, b, name, kvm01, dom1, pool.Exclusive),
		"Revoke": revoke(ctx, b, name, kvm01),
		"Delete": b.Delete(ctx, name, ""),
	}
}

func testBadNames(t *testing.T, _ Fixture, b Provider) {
	create(t, b, "vol1")
	for _, name := range badNames {
		calls := eachCall(t, b, name)
		_, calls["Create"] = b.Create(t.Context(), pool.CreateRequest{Name: name, SizeBytes: mib, CreationID: "x"})
		for what, err := range calls {
			if !errors.Is(err, pool.ErrInvalidName) {
				t.Errorf("%s(%.40q): %v", what, name, err)
			}
			if err != nil && (len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\n\x00\x1b")) {
				t.Errorf("%s(%.40q): the error is not fit to be shown: %.80q", what, name, err)
			}
		}
	}
	if volumes, err := b.List(t.Context()); err != nil || len(volumes) != 1 {
		t.Errorf("in the end: %v, %v", volumes, err)
	}
}

func testOddNames(t *testing.T, f Fixture, b Provider) {
	create(t, b, "vol1")
	if f.FoldsCase {
		testFoldedName(t, b)
	}
	for _, name := range append(oddNames, f.GoodNames...) {
		v, err := b.Create(t.Context(), pool.CreateRequest{Name: name, SizeBytes: mib, CreationID: "odd"})
		if errors.Is(err, pool.ErrInvalidName) {
			for what, err := range eachCall(t, b, name) {
				if !errors.Is(err, pool.ErrInvalidName) {
					t.Errorf("Create refused the name %q, but %s says: %v", name, what, err)
				}
			}
			continue
		}
		must(t, err)
		if found, err := b.Lookup(t.Context(), name); err != nil || found != v || found.Name != name {
			t.Errorf("%q: looked up %+v, %v; created %+v", name, found, err, v)
		}
		must(t, grant(t.Context(), b, name, kvm01, dom1, pool.Exclusive))
		wantHolds(t, b, name, "kvm01/web/exclusive")
		must(t, revoke(t.Context(), b, name, kvm01))
		if volumes, err := b.List(t.Context()); err != nil || len(volumes) != 2 {
			t.Errorf("%q: listed %v, %v", name, volumes, err)
		}
		must(t, b.Delete(t.Context(), name, "odd"))
	}
	for _, name := range f.GoodNames {
		if _, err := b.Create(t.Context(), pool.CreateRequest{Name: name, SizeBytes: mib}); err != nil {
			t.Errorf("%q must be possible: %v", name, err)
		}
	}
}

// testFoldedName: a name in the wrong case is no other way to write a volume's
// name. To who keeps records it would be a second volume.
func testFoldedName(t *testing.T, b Provider) {
	for what, err := range eachCall(t, b, "VOL1") {
		if what != "Revoke" && what != "Delete" && !errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%s of vol1 as VOL1: %v", what, err)
		}
	}
	_, err := b.Create(t.Context(), pool.CreateRequest{Name: "VOL1", SizeBytes: mib, CreationID: "by-vol1"})
	if !errors.Is(err, pool.ErrExists) {
		t.Errorf("create VOL1 beside vol1: %v", err)
	}
	if _, err := b.Lookup(t.Context(), "vol1"); err != nil {
		t.Errorf("in the end: %v", err)
	}
}

func testPaths(t *testing.T, f Fixture, b Provider) {
	v := create(t, b, "vol1")
	c, err := b.Connection(t.Context(), "vol1", kvm01)
	must(t, err)
	found, err := b.LookupPath(t.Context(), c.Path)
	if found.CreationID == "" {
		found.CreationID = v.CreationID // it may be left out
	}
	if err != nil || found != v {
		t.Errorf("%s is %+v, %v", c.Path, found, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, path := range []string{
		"", "/", "/dev/sda", "vol1", "/dev/volbridge/other-pool/vol1", "/dev/volbridge/" + f.Pool, "/dev/volbridge/" + f.Pool + "/",
		"/dev/volbridge/" + f.Pool + "/../vol1", "/dev/volbridge/" + f.Pool + "/..", c.Path + "/", c.Path + "/..", c.Path + "\n", "/" + c.Path,
		"/dev/../" + c.Path, c.Path + "x/y", "/dev/volbridge/" + f.Pool + "x/vol1", strings.ToUpper(c.Path), c.File,
	} {
		if path == c.Path {
			continue
		}
		// The ended context shows that nobody is asked.
		if found, err := b.LookupPath(ended, path); !errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%q: %+v, %v", path, found, err)
		}
	}
	if _, err := b.LookupPath(t.Context(), strings.TrimSuffix(c.Path, "1")+"2"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("a volume that is not there: %v", err)
	}
}
