package bridge

import (
	"errors"
	"testing"
	"time"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// stopped starts a guest on array/a, silences the array, and lets the guest
// stop: the grant cannot be returned then.
func stopped(t *testing.T, w *world, h *testHost, stop Stop) {
	t.Helper()
	if err := h.Start(t.Context(), domain(t, uuid1, "", block("array/a"))); err != nil {
		t.Fatal(err)
	}
	w.silent = true
	err := h.Release(t.Context(), uuid1, nil, stop)
	if !errors.Is(err, ErrLeft) || !errors.Is(err, pool.ErrUnreachable) {
		t.Fatalf("release without the array: %v", err)
	}
	if a := h.records(uuid1)["array/a"]; a.Phase != state.Releasing || !w.flushed["kvm01:"+a.Path] {
		t.Fatalf("%+v; its device must be flushed nevertheless", a)
	}
}

// TestStartWhileTheArrayIsSilent: what the record of this host proves.
func TestStartWhileTheArrayIsSilent(t *testing.T) {
	future := Stop{Reason: "shutdown", Logged: time.Now().Add(time.Minute)}
	for name, c := range map[string]struct {
		stop   Stop
		starts bool
	}{
		"destroyed":             {Stop{Reason: "destroyed"}, true},
		"shut down":             {Stop{Reason: "shutdown"}, true},
		"failed to start":       {Stop{Reason: "failed"}, true},
		"as the log says":       {future, true},
		"migrated":              {Stop{Reason: "migrated"}, false},
		"not known":             {Stop{}, false},
		"new word":              {Stop{Reason: "teleported"}, false},
		"log of an earlier run": {Stop{Reason: "shutdown", Logged: time.Now().Add(-time.Hour)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "array/a")
			h := w.host("kvm01")
			stopped(t, w, h, c.stop)
			doc := domain(t, uuid1, "", block("array/a"))
			err := h.Start(t.Context(), doc)
			if !c.starts {
				wantError(t, err, "disk vda of domain web1", "does not answer")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			h.wantDisk(uuid1, "array/a", state.Held)
			w.silent = false
			if err := h.Release(t.Context(), uuid1, nil, Stop{}); err != nil {
				t.Fatal(err)
			}
			h.wantDisk(uuid1, "array/a", "")
		})
	}
}

// TestSilentArrayIsNotGuessed: where another host may have the volume, or none
// of our records speaks of it, the start is refused.
func TestSilentArrayIsNotGuessed(t *testing.T) {
	doc := func(t *testing.T, uuid, metadata string) error {
		w := newWorld(t, "array/a", "array/b")
		h := w.host("kvm01")
		stopped(t, w, h, Stop{Reason: "destroyed"})
		return h.Start(t.Context(), domain(t, uuid, metadata, block("array/a")))
	}
	wantError(t, doc(t, uuid2, ""), "does not answer")
	if err := doc(t, uuid1, disk("vda", "array", "a", 0)); err != nil {
		t.Errorf("with metadata: %v", err)
	}
	wantError(t, doc(t, uuid1, disk("vda", "array", "b", 0)), "metadata says volume array/b")

	t.Run("after a migration", func(t *testing.T) {
		w := newWorld(t, "array/a")
		one, two := w.host("kvm01"), w.host("kvm02")
		d := domain(t, uuid1, "", block("array/a"))
		if err := one.Start(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		xml, err := two.Arrive(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if err := two.Start(t.Context(), parsed(t, xml)); err != nil {
			t.Fatal(err)
		}
		w.silent = true
		for _, h := range []*testHost{one, two} {
			if err := h.Release(t.Context(), uuid1, nil, Stop{Reason: "failed"}); !errors.Is(err, ErrLeft) {
				t.Fatal(err)
			}
		}
		wantError(t, two.Start(t.Context(), d), "does not answer") // it may have come back
		wantError(t, second(two.Arrive(t.Context(), d)), "does not answer")
	})

	t.Run("after a boot", func(t *testing.T) {
		w := newWorld(t, "array/a")
		h := w.host("kvm01")
		stopped(t, w, h, Stop{Reason: "destroyed"})
		h.store.Close()
		h = w.bootedHost("kvm01", h.dir, "boot-2")
		wantError(t, h.Start(t.Context(), domain(t, uuid1, "", block("array/a"))), "does not answer")
	})
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stays: what is to be given back is still there.
func stays(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrLeft) {
		t.Fatalf("%v, want ErrLeft", err)
	}
}

// TestRefusedStartProvesNothing: a start that the silent array could not allow, and
// what libvirt says of its end, give this host no better claim than it had. The
// pool looks the volume up by what it remembers.
func TestRefusedStartProvesNothing(t *testing.T) {
	arrived := func(t *testing.T, w *world, h *testHost, doc *domainxml.Document) {
		if err := w.host("kvm02").Start(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
		xml, err := h.Arrive(t.Context(), doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context(), parsed(t, xml)); err != nil {
			t.Fatal(err)
		}
	}
	for name, before := range map[string]func(*testing.T, *world, *testHost, *domainxml.Document){
		"it was never here": func(*testing.T, *world, *testHost, *domainxml.Document) {},
		"its arrival failed": func(t *testing.T, w *world, h *testHost, doc *domainxml.Document) {
			arrived(t, w, h, doc)
			w.mute = true
			stays(t, h.Release(t.Context(), uuid1, nil, Stop{Reason: "failed"}))
		},
		"it came and was shut down": func(t *testing.T, w *world, h *testHost, doc *domainxml.Document) {
			arrived(t, w, h, doc)
			w.mute = true
			stays(t, h.Release(t.Context(), uuid1, nil, Stop{Reason: "shutdown"}))
		},
		"it was sent away": func(t *testing.T, w *world, h *testHost, doc *domainxml.Document) {
			ok(t, h.Start(t.Context(), doc))
			w.mute = true
			stays(t, h.Release(t.Context(), uuid1, nil, Stop{Reason: "migrated"}))
		},
		"how it ended is not known": func(t *testing.T, w *world, h *testHost, doc *domainxml.Document) {
			ok(t, h.Start(t.Context(), doc))
			w.mute = true
			stays(t, h.Release(t.Context(), uuid1, nil, Stop{}))
		},
		"its grant may have been returned": func(t *testing.T, w *world, h *testHost, doc *domainxml.Document) {
			ok(t, h.Start(t.Context(), doc))
			w.replyLost = true
			stays(t, h.Release(t.Context(), uuid1, nil, Stop{Reason: "destroyed"}))
			w.replyLost = false
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "array/a")
			h := w.host("kvm01")
			doc := domain(t, uuid1, "", block("array/a"))
			before(t, w, h, doc)
			w.mute = true
			for range 4 {
				if err := h.Start(t.Context(), doc); !errors.Is(err, pool.ErrUnreachable) {
					t.Fatalf("start: %v", err)
				}
				if err := h.Release(t.Context(), uuid1, nil, Stop{Reason: "failed"}); err != nil && !errors.Is(err, ErrLeft) {
					t.Fatal(err)
				}
			}
			// And where nothing at all is answered the records alone say no.
			w.silent = true
			if err := h.Start(t.Context(), doc); !errors.Is(err, pool.ErrUnreachable) {
				t.Fatalf("start: %v", err)
			}
		})
	}
}

// TestRefusalEndsTheProof: this host's grant was ended from elsewhere, which its own
// record cannot know before the array has said it once.
func TestRefusalEndsTheProof(t *testing.T) {
	w := newWorld(t, "array/a")
	one, two := w.host("kvm01"), w.host("kvm02")
	doc := domain(t, uuid1, "", block("array/a"))
	stopped(t, w, one, Stop{Reason: "destroyed"})
	w.silent = false
	w.volumes["array/a"].holders = nil // revoked on another host
	ok(t, two.Start(t.Context(), doc))
	w.refuses = func() { w.mute = true } // and falls silent
	if err := one.Start(t.Context(), doc); !errors.As(err, new(*pool.HeldError)) {
		t.Fatalf("start: %v", err)
	}
	for _, silent := range []*bool{&w.mute, &w.silent} {
		*silent = true
		if err := one.Start(t.Context(), doc); !errors.Is(err, pool.ErrUnreachable) {
			t.Errorf("it starts beside the one on kvm02: %v", err)
		}
	}
}

// TestSilentArrayStartThatFails can be tried again, with and without the array.
func TestSilentArrayStartThatFails(t *testing.T) {
	w := newWorld(t, "array/a")
	h := w.host("kvm01")
	stopped(t, w, h, Stop{Reason: "destroyed"})
	doc := domain(t, uuid1, "", block("array/a"))
	w.volumes["array/a"].deviceBytes = mib // another device is there
	if err := h.Start(t.Context(), domain(t, uuid1, disk("vda", "array", "a", 16*mib), block("array/a"))); err == nil {
		t.Fatal("it started")
	}
	w.volumes["array/a"].deviceBytes = 0
	if err := h.Start(t.Context(), doc); err != nil {
		t.Error(err)
	}
	h.wantDisk(uuid1, "array/a", state.Held)
}

// TestForeignDiskWhileAPoolIsSilent: only its own disks wait for an array.
func TestForeignDiskWhileAPoolIsSilent(t *testing.T) {
	w := newWorld(t, "fast/a", "array/a")
	w.silent = true
	h := w.host("kvm01")
	if err := h.Start(t.Context(), domain(t, uuid1, "", foreign("a"))); err == nil {
		t.Error("it started on a path of another host")
	}
	if err := h.Start(t.Context(), domain(t, uuid1, "", block("fast/a"), "type='block'|<source dev='/dev/disk/by-id/nvme-eui.local'/>")); err != nil {
		t.Error(err)
	}
}
