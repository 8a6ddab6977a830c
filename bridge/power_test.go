package bridge

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
)

// TestPowerCut cuts the power at every step of every scenario, and once after
// the last: the devices go, and so does what was recorded without waiting for
// the disk. Recovery must then find all that the array still grants this host,
// and a start after it must work.
func TestPowerCut(t *testing.T) {
	for name, s := range scenarios {
		for how, f := range map[string]fault{"before": crashBefore, "after": crashAfter} {
			t.Run(name+"/"+how, func(t *testing.T) {
				for n := 0; cutPower(t, s, f, n); n++ {
				}
			})
		}
	}
}

// cutPower cuts it at step n, or at the end where there is no such step.
func cutPower(t *testing.T, s scenario, f fault, n int) (more bool) {
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
	if !w.struck && err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	if w.betweenBoots(h.dir, f, n) {
		return w.struck
	}
	where := fmt.Sprintf("power cut at step %d of %q", n, w.steps)
	h = w.rebooted(h, "boot-2")
	for v, a := range h.records(uuid1) {
		if err := h.ReleaseAttachment(t.Context(), a); err != nil {
			t.Errorf("%s: recovery of %s: %v", where, v, err)
		}
	}
	for _, v := range faultVolumes {
		h.wantDisk(uuid1, v, "")
		if device, granted := w.has("kvm01", v); device || granted {
			t.Errorf("%s: %s is left, device %v, grant %v", where, v, device, granted)
		}
	}
	w.volumesOf("source") // whose guest has to stop before another starts
	mustStart(t, h)
	return w.struck
}

// betweenBoots says whether the power went in the moment in which the array has
// this boot's grant already, and the record still names the boot before. Then
// the next boot knows the grant of neither, and takes it for a clone's: the
// volume stays refused until "volume revoke".
func (w *world) betweenBoots(dir string, f fault, n int) bool {
	if f == crashBefore {
		n--
	}
	if !w.struck || n < 0 || !strings.HasPrefix(w.steps[n], "grant ") {
		return false
	}
	for _, a := range w.onDisk[dir] {
		if a.BootID == "boot-0" && strings.HasSuffix(w.steps[n], " "+a.Volume) {
			return true
		}
	}
	return false
}

// volumesOf takes all grants of a host away.
func (w *world) volumesOf(host string) {
	for _, v := range w.volumes {
		kept := v.holders[:0]
		for _, h := range v.holders {
			if h.Host.Name != host {
				kept = append(kept, h)
			}
		}
		v.holders = kept
	}
}

// rebooted is a host after a power cut: it has no devices any more, and of its
// records those that were on the disk.
func (w *world) rebooted(h *testHost, bootID string) *testHost {
	w.t.Helper()
	w.reborn()
	for at := range w.devices {
		if strings.HasPrefix(at, h.Host.Name+":") {
			delete(w.devices, at)
		}
	}
	clear(w.flushed)
	dir := memoryDir(w.t)
	for _, a := range w.onDisk[h.dir] {
		store, err := state.Open(w.t.Context(), filepath.Join(dir, "state.db"), a.BootID)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := store.ClaimAll(w.t.Context(), []state.Attachment{a}); err != nil {
			w.t.Fatal(err)
		}
		if err := store.UpdateAll(w.t.Context(), []state.Attachment{a}); err != nil {
			w.t.Fatal(err)
		}
		store.Close()
	}
	return w.bootedHost(h.Host.Name, dir, bootID)
}
