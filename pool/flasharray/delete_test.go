package flasharray

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// names are all volumes of the array, destroyed ones with a mark.
func (r rig) names() string {
	var list []string
	for _, v := range r.Volumes() {
		name := v.Name
		if v.Destroyed {
			name += "(destroyed)"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

func TestDeleteKeepsOrEradicates(t *testing.T) {
	for _, c := range []struct {
		name                string
		eradicate, safeMode bool
		left                int
		warns               bool
	}{{"kept", false, false, 1, false}, {"eradicated", true, false, 0, false}, {"SafeMode", true, true, 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, lab.Options{SafeMode: c.safeMode})
			r.settings.Eradicate = c.eradicate
			b := r.open(t)
			logger, hook := logtest.NewNullLogger()
			b.log = logrus.NewEntry(logger)
			for range 2 { // the name is free again
				create(t, b, "vm1")
				must(t, b.Delete(t.Context(), "vm1", "mine"))
			}
			volumes := r.Volumes()
			if len(volumes) != 2*c.left {
				t.Errorf("left: %s", r.names())
			}
			for _, v := range volumes {
				if !v.Destroyed || v.Name == "vm1" {
					t.Errorf("left: %+v", v)
				}
			}
			if warned := len(hook.AllEntries()) > 0; warned != c.warns {
				t.Errorf("warned: %t", warned)
			}
		})
	}
}

// A volume that somebody else connected is refused in the array's words, and is
// as it was.
func TestDeleteOfAVolumeThatOthersReach(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	v := create(t, b, "vm1")
	r.connect(t, "vm1", "kvm02")
	wantError(t, "delete", b.Delete(t.Context(), "vm1", "mine"), "existing connections", "disconnect them first", "flash/vm1")
	if found, err := b.Lookup(t.Context(), "vm1"); err != nil || found != v {
		t.Errorf("afterwards %+v, %v", found, err)
	}
	grant(t, b, "vm1", kvm01, pool.Exclusive) // it is not said to be deleted
	wantConnections(t, r, "vm1 kvm01", "vm1 kvm02")
}

// What a deletion leaves that ended at some point is finished by the next, and
// by nothing else: the volume is neither found nor granted.
func TestDeletionThatEndedHalfway(t *testing.T) {
	for _, renamed := range []bool{false, true} {
		r := newRig(t, lab.Options{})
		b := r.open(t)
		create(t, b, "vm1")
		v, _ := r.Volume("vm1")
		mark(t, b, asVolume(v))
		if renamed {
			_, err := b.array.rename(t.Context(), v.ID, leavingName("vm1", Serial(v.Serial)))
			must(t, err)
		}
		_, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
		if !errors.Is(err, pool.ErrNotFound) {
			t.Errorf("renamed %t: grant: %v", renamed, err)
		}
		if !renamed {
			wantError(t, "grant", err, "being deleted", "repeat the deletion")
		}
		// It is of another request, and under its name it is said to be.
		if err := b.Delete(t.Context(), "vm1", "other"); errors.Is(err, pool.ErrNotOurs) == renamed || renamed && err != nil {
			t.Errorf("renamed %t: of another request: %v", renamed, err)
		}
		if strings.HasSuffix(r.names(), "(destroyed)") {
			t.Errorf("renamed %t: left %s", renamed, r.names())
		}
		must(t, b.Delete(t.Context(), "vm1", "mine"))
		if !strings.HasSuffix(r.names(), "(destroyed)") {
			t.Errorf("renamed %t: left %s", renamed, r.names())
		}
	}
}

// A grant that was being made when a deletion ended halfway can be returned.
func TestRevokeOfAVolumeThatIsLeaving(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	v, _ := r.Volume("vm1")
	_, err := b.array.rename(t.Context(), v.ID, leavingName("vm1", Serial(v.Serial)))
	must(t, err)
	revoke(t, r.open(t), "vm1", kvm01)
	wantConnections(t, r)
	must(t, b.Delete(t.Context(), "vm1", "mine"))
	if !strings.HasSuffix(r.names(), "(destroyed)") {
		t.Errorf("left %s", r.names())
	}
}

// A Create that ended before the volume had its name leaves one that is seen
// in lists, and that Delete with its id removes.
func TestCreationThatEndedHalfway(t *testing.T) {
	for n := 1; n <= 4; n++ {
		r := newRig(t, lab.Options{})
		b := r.open(t)
		_, err := b.List(t.Context()) // logs in
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		r.FailFrom(n+1, lab.Fault{Kind: lab.LostBefore})
		_, err = b.Create(ctx, pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "mine"})
		cancel()
		r.ClearFaults()
		if n < 4 && !errors.Is(err, pool.ErrUnreachable) {
			t.Errorf("after %d calls: %v", n, err)
		}
		list, err := b.List(t.Context())
		if wanted := min(n-1, 1); err != nil || len(list) != wanted {
			t.Errorf("after %d calls: listed %+v, %v", n, list, err)
		}
		must(t, b.Delete(t.Context(), "vm1", "mine"))
		if names := r.names(); n > 1 && !strings.HasSuffix(names, "(destroyed)") {
			t.Errorf("after %d calls: left %s", n, names)
		}
		create(t, b, "vm1") // the same id again
	}
}

func TestCreateSaysWhatIsInTheWay(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	r.AddVolumes("theirs", 1, mib)
	for _, id := range []string{"mine", ""} {
		_, err := b.Create(t.Context(), pool.CreateRequest{Name: "theirs1", SizeBytes: mib, CreationID: id})
		if !errors.Is(err, pool.ErrExists) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	r.settings.Pod = "small"
	r.AddPod("small", 4*mib)
	b = r.open(t)
	for _, id := range []string{"mine", ""} {
		_, err := b.Create(t.Context(), pool.CreateRequest{Name: "big", SizeBytes: 5 * mib, CreationID: id})
		if !errors.Is(err, pool.ErrNoSpace) {
			t.Errorf("beyond the quota, id %q: %v", id, err)
		}
		wantError(t, "beyond the quota", err, "limit reached")
	}
	create(t, b, "vm1")
	if _, err := b.Resize(t.Context(), "vm1", 5*mib); !errors.Is(err, pool.ErrNoSpace) {
		t.Errorf("resize beyond the quota: %v", err)
	}
	if c, err := b.Capacity(t.Context()); err != nil || c != (pool.Capacity{TotalBytes: 4 * mib, FreeBytes: 3 * mib}) {
		t.Errorf("capacity %+v, %v", c, err)
	}
	if got := r.names(); got != "small::vm1 theirs1" {
		t.Errorf("left: %s", got)
	}
}

// A volume that was destroyed without volbridge keeps its name.
func TestCreateBesideADestroyedVolume(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	r.AddVolumes("vm", 1, mib)
	v, _ := r.Volume("vm1")
	must(t, b.destroy(t.Context(), v.ID, v.Name, true))
	for _, id := range []string{"mine", ""} {
		_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: id})
		if !errors.Is(err, pool.ErrExists) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if list, err := b.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("left %+v, %v", list, err)
	}
}

// A copy of a volume that the array made is no volume of ours, and is held by
// nobody.
func TestCopyInheritsNothing(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	v, _ := r.Volume("vm1")
	tags, err := b.array.tags(t.Context(), v.ID)
	must(t, err)
	if len(tags) != 2 {
		t.Errorf("tags %+v, want the claim and the creation id", tags)
	}
	for _, tag := range tags {
		if tag.Copyable {
			t.Errorf("tag %+v is copied", tag)
		}
	}
}

func TestCheckSaysWhatIsMissing(t *testing.T) {
	r := newRig(t, lab.Options{})
	check := func(set func(*Settings)) error {
		s := *r.settings
		set(&s)
		b, err := open("flash", &s, testLog())
		must(t, err)
		t.Cleanup(b.array.Close)
		return b.Check(t.Context())
	}
	must(t, check(func(*Settings) {}), check(func(s *Settings) { s.Pod, s.HostGroup = "pod1", "group1" }))
	err := check(func(s *Settings) { s.Pod, s.HostGroup = "none", "nobody" })
	wantError(t, "check", err, "check pool flash", "has no pod none", "has no host group nobody", "create it there")
	b := r.open(t)
	must(t, b.CheckHost(t.Context(), kvm01))
	wantError(t, "an unknown host", b.CheckHost(t.Context(), testHost("kvm09", "9")), "knows no host", "create_host")
	r.settings.HostGroup = "group1"
	b = r.open(t)
	must(t, b.CheckHost(t.Context(), kvm01))
	r.AddHost("lonely", testHost("", "9").NQN)
	wantError(t, "no member", b.CheckHost(t.Context(), testHost("kvm09", "9")), "lonely", "group1", "add it there")

	reader := newRig(t, lab.Options{Role: "readonly"})
	wantError(t, "a user who may only look", reader.open(t).Check(t.Context()), "pureuser", "role readonly", "storage_admin")
	_, err = reader.open(t).Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "mine"})
	wantError(t, "a user who may only look", err, "Operation not permitted", "storage_admin")

	none := newRig(t, lab.Options{Portals: []string{}})
	wantError(t, "no NVMe/TCP", none.open(t).Check(t.Context()), "has no NVMe port")
}

// halfDeleted leaves vm1 as a deletion does that died between its two steps.
func halfDeleted(t *testing.T, r rig, b *backend) lab.Volume {
	t.Helper()
	create(t, b, "vm1")
	v, _ := r.Volume("vm1")
	mark(t, b, asVolume(v))
	_, err := b.array.rename(t.Context(), v.ID, leavingName("vm1", Serial(v.Serial)))
	must(t, err)
	return v
}

func TestLookupSaysThatADeletionEndedHalfway(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	v := halfDeleted(t, r, b)
	_, err := b.Lookup(t.Context(), "vm1")
	var half *UnfinishedDeletionError
	if !errors.Is(err, pool.ErrNotFound) || !errors.As(err, &half) || half.Volume.Name != "vm1" || half.Volume.SizeBytes != mib {
		t.Fatalf("%v, %+v", err, half)
	}
	wantError(t, "look-up", err, leavingName("vm1", Serial(v.Serial)), "delete it again")
	logger, hook := logtest.NewNullLogger()
	b.log = logrus.NewEntry(logger)
	must(t, b.DeleteExactly(t.Context(), half.Volume))
	if said := hook.LastEntry(); said == nil || !strings.Contains(said.Message, "finishing the deletion of volume flash/vm1") {
		t.Errorf("said %v", said)
	}
	if _, err := b.Lookup(t.Context(), "vm1"); !errors.Is(err, pool.ErrNotFound) || errors.As(err, &half) {
		t.Errorf("afterwards: %v", err)
	}
}

// What is held is not deleted by the second attempt: it is usable again.
func TestHalfDeletedVolumeThatIsHeld(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	v := halfDeleted(t, r, b)
	c := claims.Claim{Key: claims.NewKey(kvm02.ID, b.now().Add(-time.Hour)), Place: claims.Place{Name: "kvm02"}, Holder: pool.Holder{
		Host: kvm02, Owner: dom1, Mode: pool.Exclusive, Since: b.now(), BootID: "boot-1"}}
	putClaim(t, b, v.ID, c)
	var held *pool.HeldError
	if err := b.Delete(t.Context(), "vm1", "mine"); !errors.As(err, &held) || held.Volume != "vm1" {
		t.Errorf("delete: %v", err)
	}
	revoke(t, b, "vm1", kvm02)
	grant(t, b, "vm1", kvm01, pool.Exclusive)
}

// TestLockWhenTimeIsUp: a lock that was free is taken, and given back, although
// the caller's time was up meanwhile.
func TestLockWhenTimeIsUp(t *testing.T) {
	b := newRig(t, lab.Options{}).open(t)
	if b.locks == "" {
		t.Fatal("the rig has no folder for locks")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		unlock, err := b.lock(ended, "key")
		if err != nil {
			t.Fatal(err)
		}
		unlock()
	}
}
