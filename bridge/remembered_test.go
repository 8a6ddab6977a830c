package bridge

import "testing"

// A pool that remembers a volume's size from before it was resized costs
// another question, not the start.
func TestRememberedSizeIsAskedForAgain(t *testing.T) {
	for name, c := range map[string]struct{ remembered, guest int64 }{
		"grown":        {8 * mib, 16 * mib},
		"grown beyond": {8 * mib, 4 * mib},
		"smaller":      {32 * mib, 16 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "fast/a")
			w.volumes["fast/a"].remembered = c.remembered
			h := w.host("kvm01")
			doc := domain(t, uuid1, disk("vda", "fast", "a", c.guest), block("fast/a"))
			if err := h.Start(t.Context(), doc); err != nil {
				t.Fatal(err)
			}
			if device, granted := w.has("kvm01", "fast/a"); !device || !granted {
				t.Errorf("device %t, granted %t", device, granted)
			}
		})
	}
}
