package migrate

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
)

// heard keeps the warnings.
type heard struct {
	silent
	warnings *[]string
}

func (h heard) Warn(text string) { *h.warnings = append(*h.warnings, text) }

// recoverHearing recovers, and returns what was warned of.
func recoverHearing(t *testing.T, w *world) string {
	t.Helper()
	w.failAt = 0
	var warnings []string
	dial := func(_ context.Context, uri string) (Hypervisor, error) {
		return &fakeDaemon{w: w, name: strings.TrimPrefix(uri, "fake://")}, nil
	}
	r := &Recoverer{
		Store: noAttachments{}, Dial: dial,
		Mover: func(src, dst Hypervisor) *Mover {
			m := w.mover(src, dst)
			m.Watch = heard{warnings: &warnings}
			return m
		},
		Claim: func(string) (func() error, bool, error) { return func() error { return nil }, false, nil },
	}
	fs, err := r.Recover(t.Context())
	if err != nil || len(fs) != 1 || fs[0].Outcome != Recovered {
		t.Fatalf("recover: %+v, %v\n%s", fs, err, w)
	}
	return strings.Join(warnings, "\n")
}

// diedRemoving is a world in which the power went at the first point of which
// reached is true, once the guest had arrived.
func diedRemoving(t *testing.T, how fault, reached func(*world) bool) *world {
	t.Helper()
	o := Options{Domain: "web1", DestURI: "fake://kvm02", Disks: map[string]DiskTarget{"vda": {Pool: "fast"}},
		RemoveSource: true, Tuning: Tuning{UndefineSource: true}}
	for n := 1; ; n++ {
		w := newWorld()
		w.failAt, w.how = n, how
		if crash, err := w.run(o); !crash {
			t.Fatalf("the point was never met: %v", err)
		}
		if reached(w) {
			return w
		}
	}
}

// removing says how far the removal of the source is.
func removing(st state.StepStatus) func(*world) bool {
	return func(w *world) bool {
		return slices.ContainsFunc(w.journal.steps, func(s state.Step) bool { return s.Kind == stepRemove && s.Status == st })
	}
}

// The power goes before or after the image was removed, and by the time of
// recovery somebody has put another file in its place.
func TestFileThatCameSinceIsNotRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		how     fault
		reached func(*world) bool
		removed int
	}{
		"before the removal": {crashing, removing(state.Trying), 0},
		"after the removal":  {crashed, func(w *world) bool { return len(w.removed) == 1 }, 1},
		"once it was noted":  {crashed, removing(state.Done), 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := diedRemoving(t, c.how, c.reached)
			if len(w.removed) != c.removed {
				t.Fatalf("removed %v before recovery", w.removed)
			}
			w.files[bootImage] = "second"
			said := recoverHearing(t, w)
			if len(w.removed) != c.removed || w.files[bootImage] != "second" {
				t.Errorf("removed %v, left %v", w.removed, w.files)
			}
			if name == "once it was noted" {
				if said != "" {
					t.Errorf("said %q of what is done", said)
				}
				return
			}
			for _, word := range []string{bootImage, "web1", "kvm01", "rm "} {
				if !strings.Contains(said, word) {
					t.Errorf("%q does not name %s", said, word)
				}
			}
		})
	}
}

// The file is the one that was copied: recovery finishes what was asked for.
func TestRecoveryRemovesTheSource(t *testing.T) {
	w := diedRemoving(t, crashing, removing(state.Trying))
	if said := recoverHearing(t, w); said != "" || !slices.Equal(w.removed, []string{bootImage}) || len(w.files) > 0 {
		t.Errorf("removed %v, left %v, said %q", w.removed, w.files, said)
	}
}

// Nothing tells whether it is the file that was copied, because the daemon is
// elsewhere or the record is of an older version: later, it stays.
func TestFileWithoutIdentityIsNotRemovedLater(t *testing.T) {
	w := diedRemoving(t, crashing, removing(state.Trying))
	m := &w.journal.migrations[0]
	older := strings.ReplaceAll(string(m.Detail), `"source_identity":"first",`, "")
	if older == string(m.Detail) {
		t.Fatalf("no identity is recorded: %s", m.Detail)
	}
	m.Detail = []byte(older)
	said := recoverHearing(t, w)
	if len(w.removed) > 0 {
		t.Errorf("removed %v", w.removed)
	}
	for _, word := range []string{bootImage, "web1", "kvm01", "rm "} {
		if !strings.Contains(said, word) {
			t.Errorf("%q does not name %s", said, word)
		}
	}
}

// A run that does not end before is sure of its file without an identity.
func TestRunRemovesAFileWithoutIdentity(t *testing.T) {
	w := newWorld()
	w.files[bootImage] = ""
	o := Options{Domain: "web1", DestURI: "fake://kvm02", Disks: map[string]DiskTarget{"vda": {Pool: "fast"}},
		RemoveSource: true, Tuning: Tuning{UndefineSource: true}}
	if _, err := w.run(o); err != nil || !slices.Equal(w.removed, []string{bootImage}) {
		t.Errorf("removed %v, %v", w.removed, err)
	}
}
