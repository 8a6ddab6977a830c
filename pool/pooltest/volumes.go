package pooltest

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volbridge/volbridge/pool"
)

func testLife(t *testing.T, f Fixture, b Provider) {
	v := create(t, b, "vol1")
	if v.Pool != f.Pool || v.Name != "vol1" || v.CreationID != "by-vol1" || v.Identity == "" || v.Created.IsZero() || v.SizeBytes < mib {
		t.Errorf("created %+v", v)
	}
	found, err := b.Lookup(t.Context(), "vol1")
	must(t, err)
	if diff := cmp.Diff(v, found); diff != "" {
		t.Errorf("Lookup says otherwise than Create (-create +lookup):\n%s", diff)
	}
	c, err := b.Connection(t.Context(), "vol1", kvm01)
	must(t, err)
	if c.Pool != f.Pool || c.Volume != "vol1" || c.Identity != v.Identity || c.SizeBytes != v.SizeBytes || c.HostID != kvm01.ID ||
		c.Path == "" || c.Protocol == "" {
		t.Errorf("connection %+v", c)
	}
	granted, err := b.Grant(t.Context(), pool.GrantRequest{Volume: "vol1", Host: kvm01, BootID: boot1, Owner: dom1, Mode: pool.Exclusive})
	must(t, err)
	if c.NVMe != nil && granted.NVMe != nil {
		c.NVMe.NSID = granted.NVMe.NSID // an array may say it only once it granted
	}
	if diff := cmp.Diff(c, granted); diff != "" {
		t.Errorf("Grant says otherwise than Connection (-connection +grant):\n%s", diff)
	}
	must(t, revoke(t.Context(), b, "vol1", kvm01))
	must(t, b.Delete(t.Context(), "vol1", "by-vol1"))
	if _, err := b.Lookup(t.Context(), "vol1"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("Lookup after Delete: %v", err)
	}
}

// testEmpty: before the first volume a backend knows that there is none.
func testEmpty(t *testing.T, _ Fixture, b Provider) {
	_, err := b.Lookup(t.Context(), "vol1")
	if !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("Lookup: %v", err)
	}
	if volumes, err := b.List(t.Context()); len(volumes) != 0 || err != nil {
		t.Errorf("List: %v, %v", volumes, err)
	}
	if c, ok := b.(pool.Checker); ok {
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("Check: %v", err)
		}
	}
	if c, ok := b.(pool.CapacityReporter); ok {
		if n, err := c.Capacity(t.Context()); err != nil || n.TotalBytes <= 0 || n.FreeBytes < 0 || n.FreeBytes > n.TotalBytes {
			t.Errorf("Capacity: %+v, %v", n, err)
		}
	}
}

func testCreateAgain(t *testing.T, _ Fixture, b Provider) {
	first, err := b.Create(t.Context(), pool.CreateRequest{Name: "vol1", SizeBytes: mib, CreationID: "a"})
	must(t, err)
	again, err := b.Create(t.Context(), pool.CreateRequest{Name: "vol1", SizeBytes: mib, CreationID: "a"})
	must(t, err)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same id gave another volume:\n%s", diff)
	}
	for _, id := range []string{"b", ""} {
		_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vol1", SizeBytes: mib, CreationID: id})
		if !errors.Is(err, pool.ErrExists) || !strings.Contains(err.Error(), "vol1") {
			t.Errorf("id %q: %v", id, err)
		}
	}
	_, err = b.Create(t.Context(), pool.CreateRequest{Name: "vol2", SizeBytes: mib})
	must(t, err)
	if _, err = b.Create(t.Context(), pool.CreateRequest{Name: "vol2", SizeBytes: mib}); !errors.Is(err, pool.ErrExists) {
		t.Errorf("no id, twice: %v", err)
	}
}

func testDelete(t *testing.T, f Fixture, b Provider) {
	v := create(t, b, "vol1")
	if err := b.Delete(t.Context(), "vol1", "somebody-else"); !errors.Is(err, pool.ErrNotOurs) {
		t.Errorf("with another id: %v", err)
	}
	must(t, grant(t.Context(), b, "vol1", kvm01, dom1, pool.Exclusive))
	for _, id := range []string{"", "by-vol1"} {
		var held *pool.HeldError
		if err := b.Delete(t.Context(), "vol1", id); !errors.As(err, &held) || len(held.Holders) != 1 || !same(held.Holders[0].Host, kvm01) {
			t.Errorf("while held: %v", err)
		}
	}
	if still, err := b.Lookup(t.Context(), "vol1"); err != nil || still != v {
		t.Errorf("after refused deletes: %+v, %v", still, err)
	}
	wantHolds(t, b, "vol1", "kvm01/web/exclusive")
	must(t, revoke(t.Context(), b, "vol1", kvm01))
	for range 2 {
		must(t, b.Delete(t.Context(), "vol1", "by-vol1"))
	}
	testMadeAnew(t, f, b, v)
	must(t, b.Delete(t.Context(), "vol1", ""))
}

// testMadeAnew makes a volume of the name of one that was deleted: it is another.
func testMadeAnew(t *testing.T, f Fixture, b Provider, old pool.Volume) {
	next, err := b.Create(t.Context(), pool.CreateRequest{Name: old.Name, SizeBytes: mib, CreationID: "anew"})
	must(t, err)
	if same := next.Identity == old.Identity; same != f.NameIsIdentity {
		t.Errorf("two volumes of one name have the identities %s and %s", old.Identity, next.Identity)
	}
	wantHolds(t, b, old.Name, "")
	if err := b.Delete(t.Context(), old.Name, old.CreationID); !errors.Is(err, pool.ErrNotOurs) {
		t.Errorf("deleted for the one that was: %v", err)
	}
	if still, err := b.Lookup(t.Context(), old.Name); err != nil || still != next {
		t.Errorf("after that deletion: %+v, %v", still, err)
	}
}

func testResize(t *testing.T, _ Fixture, b Provider) {
	v := create(t, b, "vol1")
	for range 2 {
		bigger, err := b.Resize(t.Context(), "vol1", 4*v.SizeBytes)
		must(t, err)
		want := v
		want.SizeBytes = 4 * v.SizeBytes
		if diff := cmp.Diff(want, bigger); diff != "" {
			t.Errorf("resized (-want +got):\n%s", diff)
		}
	}
	for _, size := range []int64{v.SizeBytes, 1, 0, -1, math.MinInt64} {
		if _, err := b.Resize(t.Context(), "vol1", size); !errors.Is(err, pool.ErrShrink) {
			t.Errorf("to %d bytes: %v", size, err)
		}
	}
	if _, err := b.Resize(t.Context(), "vol1", math.MaxInt64); err == nil {
		t.Error("to the largest integer: no error")
	}
	if now, err := b.Lookup(t.Context(), "vol1"); err != nil || now.SizeBytes != 4*v.SizeBytes {
		t.Errorf("in the end %+v, %v", now, err)
	}
	c, err := b.Connection(t.Context(), "vol1", kvm01)
	if err != nil || c.SizeBytes != 4*v.SizeBytes {
		t.Errorf("connection %+v, %v", c, err)
	}
}

func testList(t *testing.T, f Fixture, b Provider) {
	names := []string{"b", "a", "c", "B", "a10", "a2"}
	if f.FoldsCase {
		names[3] = "D"
	}
	for _, name := range names {
		create(t, b, name)
	}
	volumes, err := b.List(t.Context())
	must(t, err)
	var got []string
	for _, v := range volumes {
		got = append(got, v.Name)
		if found, err := b.Lookup(t.Context(), v.Name); err != nil || found != v {
			t.Errorf("List says %+v, Lookup %+v, %v", v, found, err)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, got); diff != "" {
		t.Error(diff)
	}
}

func testSizes(t *testing.T, _ Fixture, b Provider) {
	rounded := func(n int64) int64 { return n }
	if r, ok := b.(pool.Rounder); ok {
		rounded = r.RoundSize
	}
	for i, size := range []int64{1, 511, 512, 513, mib, mib + 1, 8*mib - 1, 8 * mib, 8*mib + 1} {
		name := "size" + string(rune('a'+i))
		v, err := b.Create(t.Context(), pool.CreateRequest{Name: name, SizeBytes: size, CreationID: name})
		must(t, err)
		if v.SizeBytes < size || v.SizeBytes%512 != 0 {
			t.Errorf("%d bytes became %d", size, v.SizeBytes)
		}
		if r := rounded(size); r != size && r != v.SizeBytes {
			t.Errorf("%d bytes became %d, but RoundSize says %d", size, v.SizeBytes, r)
		}
		if r := rounded(v.SizeBytes); r != v.SizeBytes {
			t.Errorf("RoundSize(%d) = %d, although a volume has that size", v.SizeBytes, r)
		}
	}
	for _, size := range []int64{0, -1, math.MinInt64, math.MaxInt64, math.MaxInt64 - 511} {
		if v, err := b.Create(t.Context(), pool.CreateRequest{Name: "bad", SizeBytes: size, CreationID: "bad"}); err == nil {
			t.Errorf("%d bytes: made %+v", size, v)
		}
		if _, err := b.Lookup(t.Context(), "bad"); !errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%d bytes: Lookup: %v", size, err)
		}
	}
}

func testUnknown(t *testing.T, _ Fixture, b Provider) {
	create(t, b, "other")
	for what, err := range eachCall(t, b, "vol1") {
		switch what {
		case "Revoke", "Delete":
			must(t, err)
		default:
			if !errors.Is(err, pool.ErrNotFound) || !strings.Contains(err.Error(), "vol1") {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}
