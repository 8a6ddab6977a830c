package bridge

import (
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
)

// twoNames makes volume b of pool array the device of volume a.
func (w *world) twoNames() {
	w.volumes["array/b"] = &volume{sizeBytes: 16 * mib}
	w.serials = map[string]string{"b": "a"}
}

// TestOneDeviceUnderTwoNames: a device that a domain has is not given to another
// one of this host because it asks for it by another name.
func TestOneDeviceUnderTwoNames(t *testing.T) {
	for _, c := range []struct {
		name, first, second string
		refused             bool
	}{
		{"both alone", "", "", true},
		{"the first shares it", "<shareable/>", "", true},
		{"the second shares it", "", "<shareable/>", true},
		{"both share it", "<shareable/>", "<shareable/>", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "array/a")
			h := w.host("kvm01")
			if err := h.Start(t.Context(), domain(t, uuid1, "", block("array/a")+c.first)); err != nil {
				t.Fatal(err)
			}
			w.twoNames()
			err := h.Start(t.Context(), domain(t, uuid2, "", block("array/a")+c.second))
			if !c.refused {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("two domains have one device")
			}
			wantError(t, err, "disk vda of domain web2", "array/b", "also volume array/a", "domain web1", "volbridge recover")
			if len(h.records(uuid2)) > 0 || len(w.volumes["array/b"].holders) > 0 {
				t.Errorf("the refused start left %v, %v", h.records(uuid2), w.volumes["array/b"].holders)
			}
			h.wantDisk(uuid1, "array/a", state.Held)
		})
	}
}

// TestRestartUnderAnotherName: the volume was renamed while its guest ran; the
// guest starts again, for the record is its own.
func TestRestartUnderAnotherName(t *testing.T) {
	w := newWorld(t, "array/a")
	h := w.host("kvm01")
	doc := domain(t, uuid1, "", block("array/a"))
	if err := h.Start(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	w.rename("a", "b")
	if err := h.Start(t.Context(), doc); err != nil {
		t.Error(err)
	}
}

// TestOneDeviceAsTwoDisks: the two would overwrite each other.
func TestOneDeviceAsTwoDisks(t *testing.T) {
	w := newWorld(t, "array/a")
	w.twoNames()
	h := w.host("kvm01")
	doc := domain(t, uuid1, "", "type='volume'|<source pool='array' volume='a'/>", "type='volume'|<source pool='array' volume='b'/>")
	err := h.Start(t.Context(), doc)
	if err == nil || !strings.Contains(err.Error(), "remove one of the two") {
		t.Errorf("started: %v", err)
	}
	if len(h.records(uuid1)) > 0 {
		t.Error("something was taken")
	}
}
