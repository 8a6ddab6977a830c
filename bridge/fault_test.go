package bridge

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
)

var faults = map[string]fault{
	"fail before": failBefore, "fail after": failAfter, "crash before": crashBefore, "crash after": crashAfter,
}

// scenario is a call under fault injection.
type scenario struct {
	// before makes the state that the call begins with, on the host under
	// test or another one.
	before func(t *testing.T, w *world, h *testHost)
	act    func(ctx context.Context, t *testing.T, h *testHost) error
	// once: what has succeeded cannot be repeated.
	once bool
	// kept: the disks that were there before the call must be there after a
	// failure.
	kept state.Phase
	done state.Phase // what the disks are after success
}

var faultVolumes = []string{"fast/a", "slow/b", "array/c"}

var faultDisks = []string{block("fast/a"), block("slow/b"), block("array/c")}

var scenarios = map[string]scenario{
	"start": {
		act: func(ctx context.Context, t *testing.T, h *testHost) error {
			return h.Start(ctx, domain(t, uuid1, "", faultDisks...))
		},
		done: state.Held,
	},
	"start of what is held": {
		before: func(t *testing.T, w *world, h *testHost) {
			mustStart(t, h)
		},
		act: func(ctx context.Context, t *testing.T, h *testHost) error {
			return h.Start(ctx, domain(t, uuid1, "", faultDisks...))
		},
		kept: state.Held, done: state.Held,
	},
	"arrive": {
		before: func(t *testing.T, w *world, _ *testHost) { mustStart(t, w.host("source")) },
		act: func(ctx context.Context, t *testing.T, h *testHost) error {
			return second(h.Arrive(ctx, domain(t, uuid1, "", faultDisks...)))
		},
		done: state.Pending,
	},
	"confirm an arrival": {
		before: func(t *testing.T, w *world, h *testHost) {
			mustStart(t, w.host("source"))
			if _, err := h.Arrive(t.Context(), domain(t, uuid1, "", faultDisks...)); err != nil {
				t.Fatal(err)
			}
		},
		act: func(ctx context.Context, t *testing.T, h *testHost) error {
			token := h.records(uuid1)["fast/a"].Arrival
			return h.Start(ctx, domain(t, uuid1, "<volbridge:arrival token='"+token+"'/>", faultDisks...))
		},
		once: true, kept: state.Pending, done: state.Held,
	},
	"start after a boot": {
		before: func(t *testing.T, w *world, h *testHost) {
			mustStart(t, w.bootedHost("kvm01", h.dir, "boot-0"))
			clear(w.devices)
		},
		act: func(ctx context.Context, t *testing.T, h *testHost) error {
			return h.Start(ctx, domain(t, uuid1, "", faultDisks...))
		},
		done: state.Held,
	},
	"restore": {
		act: func(ctx context.Context, t *testing.T, h *testHost) error {
			return second(h.Restore(ctx, domain(t, uuid1, "", faultDisks...)))
		},
		done: state.Held,
	},
	"release": {
		before: func(t *testing.T, w *world, h *testHost) { mustStart(t, h) },
		act: func(ctx context.Context, t *testing.T, h *testHost) error {
			return h.Release(ctx, uuid1, nil, Stop{})
		},
	},
	"release one by one": {
		before: func(t *testing.T, w *world, h *testHost) { mustStart(t, h) },
		act: func(ctx context.Context, t *testing.T, h *testHost) (err error) {
			for _, a := range h.records(uuid1) {
				err = errors.Join(err, h.ReleaseAttachment(ctx, a))
			}
			return err
		},
	},
}

func mustStart(t *testing.T, h *testHost) {
	t.Helper()
	if err := h.Start(t.Context(), domain(t, uuid1, "", faultDisks...)); err != nil {
		t.Fatal(err)
	}
}

// TestFaults lets every kind of fault strike at every step of every scenario,
// and then looks that nothing is there that no record names, that a failure
// undid what it could, and that both a repeat and a release succeed.
func TestFaults(t *testing.T) {
	for name, s := range scenarios {
		for how, f := range faults {
			t.Run(name+"/"+how, func(t *testing.T) {
				n := 0
				for strike(t, s, f, n) {
					n++
				}
				if n < 6 {
					t.Errorf("only %d steps", n)
				}
			})
		}
	}
}

// strike runs a scenario with a fault at step n; false: there is no such step.
func strike(t *testing.T, s scenario, f fault, n int) bool {
	t.Helper()
	w := newWorld(t, faultVolumes...)
	dir := memoryDir(t)
	h := w.bootedHost("kvm01", dir, "boot-1")
	h.Parallel = 1
	if s.before != nil {
		s.before(t, w, h)
	}
	w.inject(f, n)
	err := s.act(t.Context(), t, h)
	if !w.struck {
		if err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		return false
	}
	where := fmt.Sprintf("fault at step %d, %s, error %v", n, w.steps[n], err)
	crashed := f == crashBefore || f == crashAfter
	w.reborn()
	h.store.Close()
	h = w.bootedHost("kvm01", dir, "boot-1")
	for _, v := range faultVolumes {
		h.checkAfterFault(t, where, v, s, err, crashed)
	}
	afterwards(t, w, h, s, where)
	return true
}

// checkAfterFault: whatever is there has a record; after a failure that was
// reported as undone there is what was there before.
func (h *testHost) checkAfterFault(t *testing.T, where, v string, s scenario, err error, crashed bool) {
	t.Helper()
	device, granted := h.w.has("kvm01", v)
	a, recorded := h.records(uuid1)[v]
	if (device || granted) && !recorded {
		t.Errorf("%s: %s has device %v, grant %v and no record", where, v, device, granted)
	}
	if recorded && a.BootID != h.BootID {
		if device {
			t.Errorf("%s: %s has a device and a record of boot %q", where, v, a.BootID)
		}
		return // untouched: recover judges it
	}
	if (a.Phase == state.Held || a.Phase == state.Pending) && !(device && granted) {
		t.Errorf("%s: %s is recorded %s with device %v, grant %v", where, v, a.Phase, device, granted)
	}
	entering := s.done != ""
	if crashed || err == nil || !entering {
		return
	}
	undone := !errors.Is(err, ErrLeft)
	switch {
	case s.kept != "" && a.Phase != s.kept:
		t.Errorf("%s: %s was %s and is %q", where, v, s.kept, a.Phase)
	case s.kept == "" && undone && (recorded || device || granted):
		t.Errorf("%s: %s was not undone: device %v, grant %v, record %q", where, v, device, granted, a.Phase)
	}
}

// afterwards: the call may be repeated, and what is there can be released.
func afterwards(t *testing.T, w *world, h *testHost, s scenario, where string) {
	t.Helper()
	if done := h.records(uuid1)["fast/a"].Phase == s.done; !done || !s.once {
		if err := s.act(t.Context(), t, h); err != nil {
			t.Errorf("%s: repeat: %v", where, err)
		}
	}
	for _, v := range faultVolumes {
		h.wantDisk(uuid1, v, s.done)
	}
	if err := h.Release(t.Context(), uuid1, nil, Stop{}); err != nil {
		t.Errorf("%s: release: %v", where, err)
	}
	for _, v := range faultVolumes {
		h.wantDisk(uuid1, v, "")
	}
}

// TestUndoThatFails lets the undo of a failed start fail too: what is left has a
// record and the error says so.
func TestUndoThatFails(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3} {
		w := newWorld(t, "fast/a")
		h := w.host("kvm01")
		w.volumes["fast/a"].deviceBytes = 1 // makes the start fail once the device is there
		w.inUse["a"] = n == 0
		doc := domain(t, uuid1, disk("vda", "fast", "a", mib), block("fast/a"))
		if n > 0 {
			w.inject(failBefore, 3+n) // connection, claim, grant, attach, then the undo
		}
		err := h.Start(t.Context(), doc)
		if !errors.Is(err, ErrLeft) {
			t.Errorf("%d: %v (steps %q)", n, err, w.steps)
		}
		if a := h.records(uuid1)["fast/a"]; a.Phase != state.Releasing && a.Phase != state.Attaching {
			t.Errorf("%d: record %q", n, a.Phase)
		}
		w.reborn()
		w.inUse["a"] = false
		if err := h.Release(t.Context(), uuid1, nil, Stop{}); err != nil {
			t.Error(err)
		}
		h.wantDisk(uuid1, "fast/a", "")
	}
}

func TestUndoOutlivesTheCall(t *testing.T) {
	w := newWorld(t, "fast/a")
	h := w.host("kvm01")
	w.volumes["fast/a"].deviceBytes = 1
	ctx, cancel := context.WithCancel(t.Context())
	h.Devices = cancelling{h.Devices, cancel}
	wantError(t, h.Start(ctx, domain(t, uuid1, disk("vda", "fast", "a", mib), block("fast/a"))), "has 1 bytes")
	h.wantDisk(uuid1, "fast/a", "")
}
