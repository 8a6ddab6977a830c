package bridge

import (
	"context"
	"errors"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

func started(t *testing.T, h *testHost) {
	t.Helper()
	if err := h.Start(t.Context(), domain(t, uuid1, "", block("fast/a"))); err != nil {
		t.Fatal(err)
	}
}

func (w *world) wantBoot(volume, bootID string) {
	w.t.Helper()
	if hs := w.volumes[volume].holders; len(hs) != 1 || hs[0].BootID != bootID {
		w.t.Errorf("%s is held by %+v, want boot %s", volume, hs, bootID)
	}
}

// A machine with this host's id and no record of its own does not start what
// this host runs, and takes nothing from it.
func TestCloneIsAnotherHost(t *testing.T) {
	w := newWorld(t, "fast/a")
	started(t, w.bootedHost("kvm01", memoryDir(t), "boot-1"))
	clear(w.devices) // the two machines have the same name here, but not the same devices
	clone := w.bootedHost("kvm01", memoryDir(t), "boot-9")
	doc := domain(t, uuid1, "", block("fast/a"))
	var held *pool.HeldError
	if err := clone.Start(t.Context(), doc); !errors.As(err, &held) {
		t.Errorf("start: %v", err)
	}
	if _, err := clone.Arrive(t.Context(), doc); !errors.As(err, &held) {
		t.Errorf("arrival: %v", err)
	}
	if err := clone.Release(t.Context(), uuid1, doc, Stop{}); err != nil {
		t.Error(err)
	}
	clone.hasNoRecord(t)
	w.wantBoot("fast/a", "boot-1")
}

// A clone that was made with the records of this host forgets them, and what
// this host holds since its own boot stays.
func TestCloneWithRecords(t *testing.T) {
	w := newWorld(t, "fast/a")
	dir := memoryDir(t)
	started(t, w.bootedHost("kvm01", dir, "boot-0"))
	w.volumes["fast/a"].holders[0].BootID = "boot-1" // the other one has started it since
	clear(w.devices)
	clone := w.bootedHost("kvm01", dir, "boot-9")
	if err := clone.Start(t.Context(), domain(t, uuid1, "", block("fast/a"))); err == nil {
		t.Error("the clone started it")
	}
	if err := clone.Release(t.Context(), uuid1, nil, Stop{}); err != nil {
		t.Error(err)
	}
	clone.hasNoRecord(t)
	w.wantBoot("fast/a", "boot-1")
}

func (h *testHost) hasNoRecord(t *testing.T) {
	t.Helper()
	if list := h.records(uuid1); len(list) != 0 {
		t.Errorf("records %+v", list)
	}
}

// After a boot the record says which grant is this host's until that is
// returned or taken anew, however often the way there fails.
func TestFailuresAfterABootKeepTheClaim(t *testing.T) {
	for what, try := range map[string]func(context.Context, *testHost) error{
		"start": func(ctx context.Context, h *testHost) error {
			return h.Start(ctx, domain(t, uuid1, "", block("fast/a")))
		},
		"release": func(ctx context.Context, h *testHost) error { return h.Release(ctx, uuid1, nil, Stop{}) },
		"recover": func(ctx context.Context, h *testHost) error {
			return h.ReleaseAttachment(ctx, h.records(uuid1)["fast/a"])
		},
	} {
		for _, f := range []fault{failBefore, failAfter, crashBefore, crashAfter} {
			for n, struck := 0, true; struck; n++ {
				w := newWorld(t, "fast/a")
				dir := memoryDir(t)
				started(t, w.bootedHost("kvm01", dir, "boot-0"))
				clear(w.devices)
				h := w.bootedHost("kvm01", dir, "boot-1")
				w.inject(f, n)
				err := try(t.Context(), h)
				struck = w.struck
				w.reborn()
				if again := h.Release(t.Context(), uuid1, nil, Stop{}); again != nil {
					t.Errorf("%s, fault %v at %d: %v, then %v", what, f, n, err, again)
				}
				if hs := w.volumes["fast/a"].holders; len(hs) != 0 {
					t.Errorf("%s, fault %v at %d (%v): in the end held by %+v", what, f, n, err, hs)
				}
			}
		}
	}
}
