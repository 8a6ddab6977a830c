package state

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestCopies(t *testing.T) {
	path := statePath(t)
	s := open(t, path, boot1)
	first := Copy{OwnerUUID: "b", Pool: "fast", Volume: "web", CreationID: "id", Image: "/srv/web.qcow2"}
	second := Copy{OwnerUUID: "a", Pool: "fast", Volume: "db", Image: "/srv/db.raw"}
	for _, c := range []Copy{first, second} {
		if err := s.BeginCopy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.BeginCopy(t.Context(), first); err == nil {
		t.Error("the same owner began twice")
	}
	if err := s.StartWriting(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.StartWriting(t.Context(), "nobody"); !errors.Is(err, ErrNoRecord) {
		t.Errorf("StartWriting of no copy: %v", err)
	}
	// Another process, after a reboot, sees the same.
	other := open(t, path, boot2)
	got, err := other.Copies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first.BootID, second.BootID, second.Writing = boot1, boot1, true
	if d := cmp.Diff([]Copy{first, second}, got, cmpopts.IgnoreFields(Copy{}, "Started")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, uuid := range []string{"a", "b", "b"} {
		if err := other.EndCopy(t.Context(), uuid); err != nil {
			t.Error(err)
		}
	}
	if got, err := s.Copies(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("left: %v, %v", got, err)
	}
}
