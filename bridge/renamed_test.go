package bridge

import (
	"slices"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// rename gives a volume of pool array another name; its device stays what it is.
func (w *world) rename(from, to string) {
	w.volumes["array/"+to] = w.volumes["array/"+from]
	delete(w.volumes, "array/"+from)
	if w.serials == nil {
		w.serials = map[string]string{}
	}
	w.serials[to] = from
}

// TestRenamedWhileTheGuestRuns: what is given back is the volume that the host
// was given, whatever it is called now, and never one that has its name since.
func TestRenamedWhileTheGuestRuns(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world)
		wants  string // in the error
		gone   bool   // the volume that the host was given
	}{
		"renamed": {change: func(w *world) { w.rename("a", "b") }},
		"renamed, and another has its name": {change: func(w *world) {
			w.rename("a", "b")
			w.another("a")
		}},
		"gone with its device, and another has its name": {gone: true, change: func(w *world) {
			delete(w.volumes, "array/a")
			clear(w.devices)
			w.another("a")
		}},
		"gone without its device": {gone: true, wants: "which no volume of the pool has any more", change: func(w *world) {
			delete(w.volumes, "array/a")
			w.another("a")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "array/a")
			h := w.host("kvm01")
			if err := h.Start(t.Context(), domain(t, uuid1, "", block("array/a"))); err != nil {
				t.Fatal(err)
			}
			c.change(w)
			other := w.volumes["array/a"]
			err := h.Release(t.Context(), uuid1, nil, Stop{})
			if c.wants == "" && err != nil || c.wants != "" && (err == nil || !strings.Contains(err.Error(), c.wants)) {
				t.Errorf("err = %v, want %q", err, c.wants)
			}
			if other != nil && len(other.holders) != 1 {
				t.Errorf("the other volume is held by %v", other.holders)
			}
			if left := len(h.records(uuid1)); (left > 0) != (c.wants != "") {
				t.Errorf("%d records are left", left)
			}
			if b := w.volumes["array/b"]; b != nil && len(b.holders) > 0 {
				t.Errorf("the renamed volume is still held by %v", b.holders)
			}
			if device := w.devices["kvm01:"+arrayDir+"a"]; device != (c.wants != "") {
				t.Errorf("device %v", device)
			}
		})
	}
}

// another is a new volume of this name, which this host holds for another
// purpose: whoever returns that has taken it for the old one.
func (w *world) another(name string) {
	w.volumes["array/"+name] = &volume{sizeBytes: 16 * mib, holders: []pool.Holder{{
		Host: pool.Host{Name: "kvm01", ID: "id-kvm01"}, BootID: "boot-1", Owner: pool.Owner{UUID: uuid2}, Mode: pool.Exclusive,
	}}}
	if w.serials == nil {
		w.serials = map[string]string{}
	}
	w.serials[name] = "new-" + name
}

// TestTwoPoolsOfOnePlace: the device that another domain has through another
// pool of the same place stays, with its grant.
func TestTwoPoolsOfOnePlace(t *testing.T) {
	w := newWorld(t, "array/a")
	h := w.host("kvm01")
	if err := h.Start(t.Context(), domain(t, uuid1, "", block("array/a"))); err != nil {
		t.Fatal(err)
	}
	alias := state.Attachment{DomainUUID: uuid2, DomainName: "db", Target: "vda", Pool: "fast", Volume: "alias",
		Mode: string(pool.Multi), Path: arrayDir + "a"}
	if err := h.store.ClaimAll(t.Context(), []state.Attachment{alias}); err != nil {
		t.Fatal(err)
	}
	if err := h.Release(t.Context(), uuid1, nil, Stop{}); err != nil {
		t.Fatal(err)
	}
	if device, granted := w.has("kvm01", "array/a"); !device || !granted {
		t.Errorf("taken from the other domain: device %v, grant %v", device, granted)
	}
	if left := h.records(uuid1); len(left) > 0 {
		t.Errorf("records %v are left", left)
	}
}

// TestClaimNamesTheDevice: from the moment of the claim another domain can see
// that its device is used.
func TestClaimNamesTheDevice(t *testing.T) {
	w := newWorld(t, "array/a")
	h := w.host("kvm01")
	w.inject(crashAfter, 1) // after the claim
	_ = h.Start(t.Context(), domain(t, uuid1, "", block("array/a")))
	w.reborn()
	if a := h.records(uuid1)["array/a"]; a.Phase != state.Attaching || a.Path != arrayDir+"a" {
		t.Errorf("after %q: record %+v", w.steps, a)
	}
}

// TestKeptConnectionIsNotWaitedFor: the record knows that the device stays, also
// where the pool has forgotten it.
func TestKeptConnectionIsNotWaitedFor(t *testing.T) {
	for _, kept := range []bool{true, false} {
		w := newWorld(t, "array/a")
		w.volumes["array/a"].kept = kept
		h := w.host("kvm01")
		if err := h.Start(t.Context(), domain(t, uuid1, "", block("array/a"))); err != nil {
			t.Fatal(err)
		}
		if err := h.Release(t.Context(), uuid1, nil, Stop{}); err != nil {
			t.Fatal(err)
		}
		if waited := slices.Contains(w.steps, "gone a"); waited == kept {
			t.Errorf("kept %v: waited for its end %v (%q)", kept, waited, w.steps)
		}
	}
}
