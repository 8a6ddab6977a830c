package bridge

import (
	"errors"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

var worker = pool.Owner{UUID: uuid2, Name: "volbridge import"}

func TestBorrow(t *testing.T) {
	for _, volume := range []string{"a", "c"} {
		poolName := map[string]string{"a": "fast", "c": "array"}[volume]
		full := poolName + "/" + volume
		w := newWorld(t, full)
		h, other := w.host("kvm01"), w.host("kvm02")
		device, err := h.Borrow(t.Context(), worker, poolName, volume)
		if err != nil {
			t.Fatal(err)
		}
		if device.SizeBytes != 16*mib || device.Path == "" {
			t.Errorf("device %+v", device)
		}
		h.wantDisk(worker.UUID, full, state.Held)
		if a := h.records(worker.UUID)[full]; a.DomainName != worker.Name || a.Mode != "exclusive" {
			t.Errorf("record %+v", a)
		}
		// Nobody else has it meanwhile: no domain here, nothing elsewhere.
		doc := domain(t, uuid1, "", block(full))
		if poolName == "fast" {
			var busy *state.BusyError
			if err := h.Start(t.Context(), doc); !errors.As(err, &busy) {
				t.Errorf("a start on the same host: %v", err)
			}
			var held *pool.HeldError
			if err := other.Start(t.Context(), doc); !errors.As(err, &held) {
				t.Errorf("a start on another host: %v", err)
			}
		}
		for range 2 {
			if err := h.Return(t.Context(), worker); err != nil {
				t.Fatal(err)
			}
			h.wantDisk(worker.UUID, full, "")
		}
	}
}

func TestBorrowWhatIsHeldOrUnknown(t *testing.T) {
	w := newWorld(t, "fast/a")
	h, other := w.host("kvm01"), w.host("kvm02")
	if err := other.Start(t.Context(), domain(t, uuid1, "", block("fast/a"))); err != nil {
		t.Fatal(err)
	}
	var held *pool.HeldError
	if _, err := h.Borrow(t.Context(), worker, "fast", "a"); !errors.As(err, &held) || !strings.Contains(err.Error(), "fast/a: for a copy of an image: ") {
		t.Errorf("held elsewhere: %v", err)
	}
	h.wantDisk(worker.UUID, "fast/a", "")
	if _, err := h.Borrow(t.Context(), worker, "fast", "none"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("no such volume: %v", err)
	}
	if _, err := h.Borrow(t.Context(), worker, "none", "a"); !errors.Is(err, ErrNoPool) {
		t.Errorf("no such pool: %v", err)
	}
}

// A device that something has open is not lent.
func TestBorrowBusyDevice(t *testing.T) {
	w := newWorld(t, "array/c")
	h := w.host("kvm01")
	w.inUse["c"] = true
	_, err := h.Borrow(t.Context(), worker, "array", "c")
	if !errors.Is(err, blockdev.ErrInUse) {
		t.Errorf("err = %v", err)
	}
	delete(w.inUse, "c")
	if err := h.Return(t.Context(), worker); err != nil {
		t.Error(err)
	}
	h.wantDisk(worker.UUID, "array/c", "")
}

// TestBorrowFaults: whatever fails or crashes, and wherever, what is left is in
// the records, and Return takes it back.
func TestBorrowFaults(t *testing.T) {
	for _, volume := range [][2]string{{"fast", "a"}, {"array", "c"}} {
		full := volume[0] + "/" + volume[1]
		for how, f := range faults {
			for n := 0; ; n++ {
				w := newWorld(t, full)
				h := w.host("kvm01")
				w.inject(f, n)
				_, err := h.Borrow(t.Context(), worker, volume[0], volume[1])
				if !w.struck {
					break
				}
				crashed := w.dead
				w.reborn()
				device, granted := w.has("kvm01", full)
				_, recorded := h.records(worker.UUID)[full]
				if err == nil && !recorded || (device || granted) && !recorded {
					t.Errorf("%s at %d (%v): device %v, grant %v, record %v", how, n, w.steps, device, granted, recorded)
				}
				if err != nil && !crashed && recorded && !errors.Is(err, ErrLeft) {
					t.Errorf("%s at %d: something is left and the error does not say so: %v", how, n, err)
				}
				if err := h.Return(t.Context(), worker); err != nil {
					t.Errorf("%s at %d: return: %v", how, n, err)
				}
				h.wantDisk(worker.UUID, full, "")
			}
		}
	}
}
