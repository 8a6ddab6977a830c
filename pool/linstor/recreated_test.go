package linstor

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

// Somebody deletes the volume by hand and makes another of its name, before each
// call of a grant, a revoke, a deletion: what is asked for is done to one of the
// two, and the other has no claim, mark or client of it.
func TestRecreatedMeanwhile(t *testing.T) {
	for name, do := range map[string]func(*backend) error{
		"grant": func(b *backend) error {
			_, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
			return err
		},
		"revoke": func(b *backend) error {
			return b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: kvm02})
		},
		"delete": func(b *backend) error { return b.Delete(t.Context(), "vm1", "mine") },
	} {
		for n := 1; ; n++ {
			r := newRig(t, lab.Options{NoTieBreaker: true})
			b := r.open(t)
			create(t, b, "vm1")
			if name == "revoke" {
				grant(t, b, "vm1", kvm02, pool.Exclusive)
			}
			var struck atomic.Bool
			r.FailAt(n, lab.Fault{Then: func() {
				struck.Store(true)
				other := r.open(t)
				must(t, other.linstor.DeleteDefinition(t.Context(), "vb-vm1"))
				_, err := other.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "another"})
				must(t, err)
			}})
			err := do(b)
			if !struck.Load() {
				break
			}
			r.judgeRecreated(t, name, n, err)
		}
	}
}

func (r rig) judgeRecreated(t *testing.T, name string, n int, err error) {
	t.Helper()
	d, there := r.Definition("vb-vm1")
	if !there {
		// The controller deletes by name, and nothing can be put before the last call.
		if name != "delete" || n < 4 {
			t.Errorf("%s, before call %d: the new volume is gone (%v)", name, n, err)
		}
		return
	}
	var def rest.Definition
	def.Props = d.Props
	notes := notesOf(def)
	held := len(claims.Read(notes))
	switch {
	case name == "delete" && err != nil && !errors.Is(err, pool.ErrNotOurs):
		t.Errorf("%s, before call %d: %v", name, n, err)
	case name == "grant" && err == nil && held != 1, (name != "grant" || err != nil) && held != 0:
		t.Errorf("%s, before call %d: %v, and %d claims", name, n, err, held)
	}
	if marks := claims.Marks(notes); held == 0 && len(marks) > 0 {
		t.Errorf("%s, before call %d: %v, and marks %v are left", name, n, err, marks)
	}
	if held > 0 {
		revoke(t, r.open(t), "vm1", kvm01)
		d, held = r.volume(t, "vm1"), 0
	}
	if client := slices.Contains(d.Resources, "kvm01 diskless"); client != (held > 0) {
		t.Errorf("%s, before call %d: %v, on %v with %d claims", name, n, err, d.Resources, held)
	}
}

// The same while a volume is made: a Create that succeeds has made the volume,
// and one that does not leaves the other's alone.
func TestRecreatedDuringCreate(t *testing.T) {
	for n := 2; ; n++ {
		r := newRig(t, lab.Options{NoTieBreaker: true})
		var struck atomic.Bool
		r.FailAt(n, lab.Fault{Then: func() {
			struck.Store(true)
			other := r.open(t)
			if err := other.linstor.DeleteDefinition(t.Context(), "vb-vm1"); err != nil && !errors.Is(err, rest.ErrNotFound) {
				t.Error(err)
			}
			_, err := other.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: 2 * mib, CreationID: "another"})
			must(t, err)
		}})
		v, err := r.open(t).Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "mine"})
		if !struck.Load() {
			return
		}
		found, look := r.open(t).Lookup(t.Context(), "vm1")
		if look != nil || found.CreationID != "another" || found.SizeBytes != 2*mib {
			t.Errorf("before call %d: the other's volume is %+v, %v", n, found, look)
		}
		if !errors.Is(err, pool.ErrExists) {
			t.Errorf("before call %d: %+v, %v", n, v, err)
		}
	}
}

// A definition that another Create has just begun is not filled by this one.
func TestBegunByAnother(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	r.FailAt(3, lab.Fault{Then: func() { // look, define, look
		other := r.open(t)
		must(t, other.linstor.DeleteDefinition(t.Context(), "vb-vm1"))
		_, err := other.define(t.Context(), creation{pool.CreateRequest{Name: "vm1", CreationID: "another"}, 1024, "5 other", unfinishedNote + "other"})
		must(t, err)
	}})
	_, err := r.open(t).Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "mine"})
	if d := r.volume(t, "vm1"); !errors.Is(err, pool.ErrExists) || d.SizeKiB != 0 || len(d.Resources) > 0 {
		t.Errorf("%v; %+v", err, d)
	}
}

// A volume that an administrator made has no creation id: what tells it from
// another of its name is the definition itself. It is deleted by hand, and another
// made, before each call of a deletion of the one that was looked up.
func TestMadeAnewByHand(t *testing.T) {
	for n := 1; ; n++ {
		r := newRig(t, lab.Options{NoTieBreaker: true})
		must(t, r.AddVolume("vms", "vb-vm1", 1024, "store1"))
		b := r.open(t)
		v, err := b.Lookup(t.Context(), "vm1")
		must(t, err)
		var struck atomic.Bool
		r.FailAt(n, lab.Fault{Then: func() {
			struck.Store(true)
			must(t, r.RemoveVolume("vb-vm1"), r.AddVolume("vms", "vb-vm1", 2048, "store1"))
		}})
		err = b.Delete(t.Context(), "vm1", v.CreationID)
		if !struck.Load() {
			must(t, err)
			return
		}
		if n == 4 { // the controller deletes by name, and nothing can be put before the last call
			continue
		}
		if !errors.Is(err, pool.ErrNotOurs) {
			t.Errorf("before call %d: %v", n, err)
		}
		wantError(t, "deletion", err, "vb-vm1", "the name is another volume's by now")
		next, err := b.Lookup(t.Context(), "vm1")
		if err != nil || next.SizeBytes != 2*mib || next.CreationID == v.CreationID {
			t.Errorf("before call %d: %+v, %v; that was %+v", n, next, err, v)
		}
		if notes := r.volume(t, "vm1").Props; len(notes) > 0 {
			t.Errorf("before call %d: left %v", n, notes)
		}
	}
}

// What stands for the creation id of such a volume is never written down, and it
// stays as long as the volume. It makes no creation a repeated one.
func TestIdentityOfAVolumeMadeByHand(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	must(t, r.AddVolume("vms", "vb-vm1", 1024, "store1"))
	b := r.open(t)
	v, err := b.Lookup(t.Context(), "vm1")
	must(t, err)
	if !strings.HasPrefix(v.CreationID, "rd:") || !v.Created.IsZero() {
		t.Errorf("%+v", v)
	}
	_, err = b.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: v.CreationID})
	if !errors.Is(err, pool.ErrExists) {
		t.Errorf("create: %v", err)
	}
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	revoke(t, b, "vm1", kvm01)
	if _, err := b.Resize(t.Context(), "vm1", 2*mib); err != nil {
		t.Error(err)
	}
	list, err := b.List(t.Context())
	if err != nil || len(list) != 1 || list[0].CreationID != v.CreationID {
		t.Errorf("listed %+v, %v", list, err)
	}
	if props := r.volume(t, "vm1").Props; len(props) > 0 {
		t.Errorf("left %v", props)
	}
	must(t, b.Delete(t.Context(), "vm1", v.CreationID))
	if left := r.Definitions(); len(left) > 0 {
		t.Errorf("left %+v", left)
	}
}
