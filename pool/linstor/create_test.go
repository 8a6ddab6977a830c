package linstor

import (
	"errors"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
)

// Storage that shows what it held before is refused, and nothing is left.
func TestNewVolumeReadsAsZeroes(t *testing.T) {
	for kind, blank := range map[string]bool{"LVM_THIN": true, "ZFS": true, "ZFS_THIN": true, "LVM": false, "FILE": false, "SPDK": false} {
		r := newRig(t, lab.Options{})
		r.AddNode("store2", lab.Pool{Name: "thin", Kind: kind, TotalKiB: 1 << 20})
		b := r.open(t)
		_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "mine"})
		if (err == nil) != blank {
			t.Errorf("%s: %v", kind, err)
		}
		if blank {
			continue
		}
		wantError(t, kind, err, "node store2", "kind "+kind, "LVM_THIN")
		if left := r.Definitions(); len(left) > 0 {
			t.Errorf("%s: left %+v", kind, left)
		}
	}
}

// Without room nothing is left, so that it may be called pool.ErrNoSpace.
func TestNoSpace(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: 2 << 40, CreationID: "mine"})
	if !errors.Is(err, pool.ErrNoSpace) || !strings.Contains(err.Error(), "Not enough available nodes") {
		t.Errorf("%v", err)
	}
	if left := r.Definitions(); len(left) > 0 {
		t.Errorf("left %+v", left)
	}
	create(t, b, "vm2")
	if _, err := b.Resize(t.Context(), "vm2", 2<<40); !errors.Is(err, pool.ErrNoSpace) {
		t.Errorf("resize: %v", err)
	}
}

// A volume has exactly the size that was asked for, in KiB, until it is resized;
// then it has what its storage makes of it.
func TestSizes(t *testing.T) {
	r := newRig(t, lab.Options{})
	for _, n := range []string{"store1", "store2"} {
		r.AddNode(n, lab.Pool{Name: "thin", Kind: "LVM_THIN", TotalKiB: 1 << 30, ExtentKiB: 4096})
	}
	b := r.open(t)
	v, err := b.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: 5*mib + 1, CreationID: "mine"})
	must(t, err)
	if v.SizeBytes != 5*mib+1024 {
		t.Errorf("%d bytes", v.SizeBytes)
	}
	v, err = b.Resize(t.Context(), "vm1", 9*mib)
	must(t, err)
	if v.SizeBytes != 12*mib {
		t.Errorf("%d bytes after a resize", v.SizeBytes)
	}
	list, err := b.List(t.Context())
	if err != nil || len(list) != 1 || list[0] != v {
		t.Errorf("listed %+v, %v", list, err)
	}
	if c := grant(t, b, "vm1", kvm01, pool.Exclusive); c.SizeBytes != 12*mib {
		t.Errorf("granted with %d bytes", c.SizeBytes)
	}
}

// A controller that does not know exact sizes is asked without: the volume has
// what its storage makes of its size, to whoever asks.
func TestNoExactSizes(t *testing.T) {
	r := newRig(t, lab.Options{})
	for _, n := range []string{"store1", "store2"} {
		r.AddNode(n, lab.Pool{Name: "thin", Kind: "LVM_THIN", TotalKiB: 1 << 30, ExtentKiB: 4096})
	}
	r.SetExactSizes(false)
	b := r.open(t)
	again := pool.CreateRequest{Name: "vm1", SizeBytes: 5 * mib, CreationID: "mine"}
	for range 2 {
		v, err := b.Create(t.Context(), again)
		must(t, err)
		if v.SizeBytes != 8*mib {
			t.Errorf("%d bytes", v.SizeBytes)
		}
	}
	if c := grant(t, b, "vm1", kvm01, pool.Exclusive); c.SizeBytes != 8*mib {
		t.Errorf("granted with %d bytes", c.SizeBytes)
	}
}

// What a Create has left that did not end is no volume, says so, and can be
// finished by repeating it or deleted.
func TestUnfinished(t *testing.T) {
	ids := map[bool]func(pool.Volume) string{
		false: func(shown pool.Volume) string { return shown.CreationID },
		true:  func(pool.Volume) string { return "mine" },
	}
	for _, finish := range []bool{false, true} {
		r := newRig(t, lab.Options{})
		b := r.open(t)
		r.FailFrom(4, lab.Fault{Kind: lab.LostBefore}) // look, define, look, …
		again := pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "mine"}
		if _, err := b.Create(t.Context(), again); !errors.Is(err, pool.ErrUnreachable) {
			t.Fatal(err)
		}
		r.ClearFaults()
		_, err := b.Lookup(t.Context(), "vm1")
		if !errors.Is(err, pool.ErrNotFound) || !strings.Contains(err.Error(), "volbridge volume delete drbd/vm1") {
			t.Errorf("look-up: %v", err)
		}
		var half interface {
			error
			Unfinished() pool.Volume
		}
		if !errors.As(err, &half) || half.Unfinished().Name != "vm1" || half.Unfinished().Created.IsZero() {
			t.Fatalf("look-up: %v", err)
		}
		logger, hook := logtest.NewNullLogger()
		b.log = logrus.NewEntry(logger)
		if list, err := b.List(t.Context()); err != nil || len(list) > 0 {
			t.Errorf("listed %v, %v", list, err)
		}
		if said := hook.LastEntry(); said == nil || said.Level != logrus.WarnLevel || !strings.Contains(said.Message, "volbridge volume delete drbd/vm1") {
			t.Errorf("the list says %v", said)
		}
		hook.Reset()
		if _, err := b.HeldBy(t.Context(), kvm01.ID); err != nil || len(hook.AllEntries()) > 0 {
			t.Errorf("what a host holds: %v, %v", err, hook.AllEntries())
		}
		if _, err := b.Lookup(t.Context(), "VM1"); !errors.Is(err, pool.ErrNotFound) || errors.As(err, &half) {
			t.Errorf("look-up of VM1: %v", err)
		}
		_, err = b.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "other"})
		if !errors.Is(err, pool.ErrExists) || !strings.Contains(err.Error(), "not finished") || !strings.Contains(err.Error(), "volbridge volume delete drbd/vm1") {
			t.Errorf("create: %v", err)
		}
		_, err = b.Create(t.Context(), pool.CreateRequest{Name: "VM1", SizeBytes: mib, CreationID: "other"})
		if !errors.Is(err, pool.ErrExists) || !strings.Contains(err.Error(), "volbridge volume delete drbd/vm1") {
			t.Errorf("create VM1: %v", err)
		}
		if finish {
			v, err := b.Create(t.Context(), again)
			must(t, err)
			if found, err := b.Lookup(t.Context(), "vm1"); err != nil || found != v {
				t.Errorf("%+v, %v; created %+v", found, err, v)
			}
			// Who was shown what was not finished was not shown this.
			err = b.Delete(t.Context(), "vm1", half.Unfinished().CreationID)
			if !errors.Is(err, pool.ErrNotOurs) || !strings.Contains(err.Error(), "finished meanwhile") {
				t.Errorf("deleted as unfinished: %v", err)
			}
		}
		must(t, b.Delete(t.Context(), "vm1", ids[finish](half.Unfinished())))
		if left := r.Definitions(); len(left) > 0 {
			t.Errorf("left %+v", left)
		}
	}
}

// A volume with a replica on a node that is offline is gone when that comes back.
func TestDeleteWhileANodeIsOffline(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	b := r.open(t)
	create(t, b, "vm1")
	r.SetOnline("store2", false)
	for range 2 {
		must(t, b.Delete(t.Context(), "vm1", "mine"))
	}
	if _, err := b.Lookup(t.Context(), "vm1"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("look-up: %v", err)
	}
	_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "x"})
	if !errors.Is(err, pool.ErrExists) || !strings.Contains(err.Error(), "being deleted") {
		t.Errorf("create: %v", err)
	}
	r.SetOnline("store2", true)
	create(t, b, "vm1")
}

// A volume that somebody resizes may be made larger by another, and be deleted
// since.
func TestNotGrown(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	refused := errors.New("Deployed volumes can only grow")
	create(t, b, "vm1")
	v, err := b.find(t.Context(), "vm1")
	must(t, err)
	if err := b.notGrown(t.Context(), v, mib/2, refused); !errors.Is(err, pool.ErrShrink) {
		t.Errorf("larger meanwhile: %v", err)
	}
	if err := b.notGrown(t.Context(), v, mib, refused); !errors.Is(err, refused) {
		t.Errorf("as it was: %v", err)
	}
	must(t, b.Delete(t.Context(), "vm1", "mine"))
	if err := b.notGrown(t.Context(), v, 2*mib, refused); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	create(t, b, "vm1")
	if err := b.notGrown(t.Context(), v, 2*mib, refused); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("made anew: %v", err)
	}
}
