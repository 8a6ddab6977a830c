package bridge

import (
	"slices"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// TestArrivalIsConfirmed: what `migrate` was granted is looked at, not asked for
// again, unless something of it is gone.
func TestArrivalIsConfirmed(t *testing.T) {
	const volume = "array/a"
	for name, c := range map[string]struct {
		// change happens between `migrate` and `prepare`.
		change func(t *testing.T, w *world, two *testHost)
		// cold is a start without the token of the arrival.
		cold  bool
		wants []string // of confirm and grant
		fails string
	}{
		"stands": {wants: []string{"confirm a"}},
		"fenced": {change: func(_ *testing.T, w *world, _ *testHost) { w.volumesOf("kvm02") }, wants: []string{"confirm a", "grant a"}},
		"without its device": {
			change: func(_ *testing.T, w *world, _ *testHost) { delete(w.devices, "kvm02:"+arrayDir+"a") },
			wants:  []string{"grant a"},
		},
		"taken back by recovery": {
			change: func(t *testing.T, _ *world, two *testHost) {
				if err := two.ReleaseAttachment(t.Context(), two.records(uuid1)[volume]); err != nil {
					t.Fatal(err)
				}
			},
			wants: []string{"grant a"}, fails: "held by host kvm01",
		},
		"being taken back": {
			change: func(t *testing.T, _ *world, two *testHost) {
				if err := two.intend(t.Context(), []state.Attachment{two.records(uuid1)[volume]}); err != nil {
					t.Fatal(err)
				}
			},
			wants: []string{"grant a"}, fails: "held by host kvm01",
		},
		"on a silent array": {
			change: func(_ *testing.T, w *world, _ *testHost) { w.silentConfirm = true },
			wants:  []string{"confirm a"}, fails: pool.ErrUnreachable.Error(),
		},
		"a start by itself": {cold: true, wants: []string{"grant a"}, fails: "held by host kvm01"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, volume)
			_, two, xml := arrive(t, w, "", block(volume))
			if c.change != nil {
				c.change(t, w, two)
			}
			w.inject(failBefore, -1)
			doc := parsed(t, xml)
			if c.cold {
				doc = domain(t, uuid1, "", block(volume))
			}
			if err := two.Start(t.Context(), doc); c.fails != "" {
				wantError(t, err, c.fails)
			} else if err != nil {
				t.Error(err)
			}
			asked := slices.DeleteFunc(slices.Clone(w.steps), func(s string) bool {
				return !strings.HasPrefix(s, "confirm ") && !strings.HasPrefix(s, "grant ")
			})
			if !slices.Equal(asked, c.wants) {
				t.Errorf("asked %q, want %q (of %q)", asked, c.wants, w.steps)
			}
			if c.fails != "" {
				return
			}
			two.wantDisk(uuid1, volume, state.Held)
			if device, granted := w.has("kvm02", volume); !device || !granted {
				t.Errorf("held with device %v, grant %v", device, granted)
			}
		})
	}
}
