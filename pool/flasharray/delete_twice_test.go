package flasharray

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// heldMeanwhile: a deletion stands still on its way. Another one meets the claim
// of a start that is about to withdraw, and gives the volume its name back; then
// a guest starts on it.
func heldMeanwhile(t *testing.T, r rig) {
	t.Helper()
	v, there := r.Volume(r.names())
	if !there {
		t.Fatalf("no volume %s", r.names())
	}
	d := r.elsewhere(t)
	c := claims.Claim{Key: claims.NewKey(kvm01.ID, d.now()), Holder: pool.Holder{
		Host: kvm01, Owner: dom1, Mode: pool.Exclusive, Since: d.now(), BootID: "boot-1"}}
	putClaim(t, d, v.ID, c)
	var held *pool.HeldError
	if err := r.elsewhere(t).Delete(t.Context(), "vm1", ""); !errors.As(err, &held) {
		t.Fatalf("the second deletion: %v", err)
	}
	must(t, d.array.dropTags(t.Context(), v.ID, c.Key))
	grant(t, r.elsewhere(t), "vm1", kvm02, pool.Exclusive)
}

func wantHeld(t *testing.T, r rig) {
	t.Helper()
	if got := r.names(); got != "vm1" {
		t.Errorf("the volume is called %s now", got)
	}
	var held *pool.HeldError
	if err := r.elsewhere(t).Delete(t.Context(), "vm1", ""); !errors.As(err, &held) || held.Holders[0].Host.ID != kvm02.ID {
		t.Errorf("it is not held: %v", err)
	}
	if r.settings.HostGroup != "" {
		wantConnections(t, r, "vm1 @group1")
	}
}

// TestTwoDeletionsAndAStart: a deletion that comes back when the volume has its
// name again, and a holder, does not delete it.
func TestTwoDeletionsAndAStart(t *testing.T) {
	r := newRig(t, lab.Options{})
	r.settings.HostGroup = "group1"
	a := r.open(t)
	create(t, a, "vm1")
	v := halfGone(t, r, a)
	heldMeanwhile(t, r)
	if err := a.destroy(t.Context(), v.ID, a.onArray(leavingName("vm1", Serial(v.Serial))), true); !errors.Is(err, errGivenBack) {
		t.Errorf("the first deletion: %v", err)
	}
	wantHeld(t, r)
}

// halfGone marks and renames a volume that is there.
func halfGone(t *testing.T, r rig, b *backend) lab.Volume {
	t.Helper()
	v, _ := r.Volume("vm1")
	mark(t, b, asVolume(v))
	_, err := b.array.rename(t.Context(), v.ID, b.onArray(leavingName("vm1", Serial(v.Serial))))
	must(t, err)
	return v
}

// TestLateDeletion: the same for what the array carries out late.
func TestLateDeletion(t *testing.T) {
	for name, c := range map[string]struct {
		n            int
		method, path string
	}{
		"disconnected late": {1, http.MethodDelete, connections},
		"destroyed late":    {2, http.MethodPatch, volumes}, // the first renames
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lab.Options{})
			if c.path == connections {
				r.settings.HostGroup = "group1"
			}
			create(t, r.open(t), "vm1")
			r.FailFrom(c.n, lab.Fault{Kind: lab.LostLate, Method: c.method, Path: c.path})
			if err := r.open(t).Delete(t.Context(), "vm1", ""); !errors.Is(err, pool.ErrMaybeDone) {
				t.Fatalf("delete: %v", err)
			}
			r.ClearFaults()
			heldMeanwhile(t, r)
			if r.CarryOutLate() == 0 {
				t.Error("nothing was late")
			}
			wantHeld(t, r)
		})
	}
}

// TestDeletionWithoutItsMark: another deletion took the mark away, as a dead one's,
// before the volume was renamed, and a guest has started since.
func TestDeletionWithoutItsMark(t *testing.T) {
	r := newRig(t, lab.Options{})
	a := r.open(t)
	create(t, a, "vm1")
	v, _ := r.Volume("vm1")
	m, err := a.ledger(asVolume(v)).Mark(t.Context())
	must(t, err)
	must(t, a.array.dropTags(t.Context(), v.ID, claims.Marks(notes(t, a, v.ID))...))
	err = a.discardMarked(t.Context(), m, "vm1", arrayVolume{ID: v.ID, Name: v.Name, Serial: v.Serial})
	wantError(t, "delete", err, "removed by somebody else", "repeat the command")
	grant(t, r.elsewhere(t), "vm1", kvm02, pool.Exclusive)
	wantHeld(t, r)
}

func notes(t *testing.T, b *backend, id string) map[string]string {
	t.Helper()
	tags, err := b.array.tags(t.Context(), id)
	must(t, err)
	return notesOf(tags)
}

// TestRestWhileTheArrayIsSilent: a deletion that ended halfway is not taken back
// because nobody can say who holds the volume.
func TestRestWhileTheArrayIsSilent(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	v := halfDeleted(t, r, b)
	r.FailFrom(1, lab.Fault{Kind: lab.LostBefore, Method: http.MethodGet, Path: tagPath})
	err := b.Delete(t.Context(), "vm1", "")
	if !errors.Is(err, pool.ErrUnreachable) {
		t.Fatalf("delete: %v", err)
	}
	r.ClearFaults()
	if got := r.names(); !strings.Contains(got, leavingName("vm1", Serial(v.Serial))) {
		t.Errorf("the volume is called %s", got)
	}
	if len(claims.Marks(notes(t, b, v.ID))) != 1 {
		t.Error("its mark has gone")
	}
}
