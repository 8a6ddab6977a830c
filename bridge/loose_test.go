package bridge

import (
	"errors"
	"fmt"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// TestSilentArrayAfterALostRevoke: a grant that may have been returned proves
// nothing, whatever the record says of how the guest stopped. The volume's
// device stays on both hosts, as with a host group.
func TestSilentArrayAfterALostRevoke(t *testing.T) {
	for name, lose := range map[string]func(w *world, steps map[string]int){
		"its reply is lost":           func(w *world, _ map[string]int) { w.replyLost = true },
		"the host dies after it":      func(w *world, at map[string]int) { w.inject(crashAfter, at["revoke a"]) },
		"the record cannot be erased": func(w *world, at map[string]int) { w.inject(failBefore, at["forget a"]) },
		"the device does not go":      func(w *world, at map[string]int) { w.inject(failBefore, at["gone a"]) },
	} {
		t.Run(name, func(t *testing.T) {
			at := stepsOfRelease(t)
			w := newWorld(t, "array/a")
			one, two := w.host("kvm01"), w.host("kvm02")
			doc := domain(t, uuid1, "", block("array/a"))
			if err := one.Start(t.Context(), doc); err != nil {
				t.Fatal(err)
			}
			lose(w, at)
			if err := one.Release(t.Context(), uuid1, nil, Stop{Reason: "destroyed"}); err == nil {
				t.Fatal("nothing went wrong")
			}
			w.reborn()
			w.replyLost = false
			if err := two.Start(t.Context(), doc); err != nil {
				t.Fatal(err)
			}
			w.silent = true
			if err := one.Start(t.Context(), doc); !errors.Is(err, pool.ErrUnreachable) {
				t.Errorf("it started beside the one on kvm02: %v", err)
			}
		})
	}
}

// stepsOfRelease are the numbers of a release's steps.
func stepsOfRelease(t *testing.T) map[string]int {
	t.Helper()
	w := newWorld(t, "array/a")
	h := w.host("kvm01")
	if err := h.Start(t.Context(), domain(t, uuid1, "", block("array/a"))); err != nil {
		t.Fatal(err)
	}
	w.inject(failBefore, -1)
	if err := h.Release(t.Context(), uuid1, nil, Stop{Reason: "destroyed"}); err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, s := range w.steps {
		at[s] = i
	}
	return at
}

// TestSilentArrayAfterManyTries: each try that is not sent leaves the proof, one
// whose reply is lost ends it for good.
func TestSilentArrayAfterManyTries(t *testing.T) {
	w := newWorld(t, "array/a")
	h := w.host("kvm01")
	stopped(t, w, h, Stop{Reason: "destroyed"})
	try := func(want string) {
		t.Helper()
		if err := h.ReleaseAttachment(t.Context(), h.records(uuid1)["array/a"]); !errors.Is(err, ErrLeft) {
			t.Fatal(err)
		}
		if a := h.records(uuid1)["array/a"]; a.Stopped != want || a.Phase != state.Releasing {
			t.Errorf("stopped %q, phase %s", a.Stopped, a.Phase)
		}
	}
	try("destroyed")
	w.inUse["a"] = true
	try("destroyed")
	w.inUse["a"], w.silent, w.replyLost = false, false, true
	try("")
	w.silent, w.replyLost = true, false
	try("")
}

// TestSilentArrayWhileRecoveryTries: who starts a guest just then waits for it.
func TestSilentArrayWhileRecoveryTries(t *testing.T) {
	w := newWorld(t, "array/a")
	h := w.host("kvm01")
	stopped(t, w, h, Stop{Reason: "destroyed"})
	unlock, err := h.Locks.Domain(t.Context(), uuid1)
	if err != nil {
		t.Fatal(err)
	}
	a := h.records(uuid1)["array/a"]
	if err := h.intend(t.Context(), []state.Attachment{a}); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- h.Start(t.Context(), domain(t, uuid1, "", block("array/a"))) }()
	<-w.lookups
	if err := errors.Join(h.stillOurs(t.Context(), a, errInjected), unlock()); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Error(err)
	}
}

// lost is the error of a call that took effect, and whose reply was lost.
func (b fakeBackend) lost() error {
	if b.name == "array" && b.w.replyLost {
		return fmt.Errorf("array 10.0.0.1: %w", pool.ErrMaybeDone)
	}
	return nil
}
