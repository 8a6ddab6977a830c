package migrate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/state"
)

// unconfirmed is a source whose client lost libvirt's last reply, after the guest
// had begun to run on the destination. What libvirt makes of the source then is
// left.
type unconfirmed struct {
	*fakeDaemon
	left string
}

func (s *unconfirmed) Migrate(ctx context.Context, d Hypervisor, call Call, watch func(Progress)) error {
	if err := s.fakeDaemon.Migrate(ctx, d, call, watch); err != nil {
		return err
	}
	s.w.guest["kvm01"] = s.left
	return errors.New("client socket is closed")
}

func runUnconfirmed(t *testing.T, left string, settle time.Duration) (*world, error) {
	t.Helper()
	w := newWorld()
	m := w.mover(&unconfirmed{&fakeDaemon{w: w, name: "kvm01"}, left}, &fakeDaemon{w: w, name: "kvm02"})
	m.Settle = settle
	_, err := m.Run(t.Context(), Options{Domain: "web1", DestURI: "fake://kvm02", Disks: map[string]DiskTarget{"vda": {Pool: "fast"}}})
	return w, err
}

// says fails unless text has all the words, in this order.
func says(t *testing.T, text string, words ...string) {
	t.Helper()
	rest := text
	for _, word := range words {
		_, after, ok := strings.Cut(rest, word)
		if !ok {
			t.Errorf("%q does not say %q there", text, word)
			return
		}
		rest = after
	}
}

var (
	bothWords        = []string{"RUNS ON BOTH HOSTS", "at once", "`virsh -c fake://kvm01 destroy web1`", "file systems", "`volbridge recover`"}
	unconfirmedWords = []string{"has arrived on fake://kvm02", "never resume it", "`virsh -c fake://kvm01 destroy web1`", "`volbridge recover`"}
)

// Where two QEMUs write, every second counts, and nobody may wait for the end of a
// deadline to be told.
func TestRunsOnBothHosts(t *testing.T) {
	began := time.Now()
	w, err := runUnconfirmed(t, "running", time.Minute)
	if took := time.Since(began); err == nil || took > 20*time.Second {
		t.Fatalf("after %s: %v", took, err)
	}
	says(t, err.Error(), bothWords...)
	unchangedBy(t, w, bothWords)
	for host, other := range map[string]string{"kvm01": "kvm02", "kvm02": "kvm01"} {
		t.Run(host+" is stopped", func(t *testing.T) {
			w, _ := runUnconfirmed(t, "running", time.Minute)
			destroyed(t, w, host)
			if w.guest[other] != "running" {
				t.Error(w)
			}
		})
	}
}

// A source that has never heard that the guest arrived keeps it paused.
func TestArrivedButNeverConfirmed(t *testing.T) {
	w, err := runUnconfirmed(t, "unconfirmed", 2*askAgain)
	if err == nil {
		t.Fatal(w)
	}
	says(t, err.Error(), unconfirmedWords...)
	unchangedBy(t, w, unconfirmedWords)
	destroyed(t, w, "kvm01")
}

// That state is passed in every migration; one that comes out of it has arrived.
func TestConfirmedLate(t *testing.T) {
	w := newWorld()
	src := &lateDaemon{fakeDaemon: &fakeDaemon{w: w, name: "kvm01"}, looks: 5}
	m := w.mover(&unconfirmed{src.fakeDaemon, "unconfirmed"}, &fakeDaemon{w: w, name: "kvm02"})
	m.Source, m.Settle = src, time.Minute
	w.guest = map[string]string{"kvm01": "unconfirmed", "kvm02": "running"}
	if place, why := m.settle(t.Context(), guestUUID); place != AtDestination {
		t.Errorf("%s (%s)", place, why)
	}
}

// lateDaemon has the guest gone after so many looks.
type lateDaemon struct {
	*fakeDaemon
	looks int
}

func (d *lateDaemon) Where(ctx context.Context, uuid string) (Whereabouts, error) {
	w, err := d.fakeDaemon.Where(ctx, uuid)
	if d.looks--; d.looks == 0 {
		d.w.guest[d.name] = "stored"
	}
	return w, err
}

// The guest may leave the source between the two answers.
func TestLeavesBetweenTwoLooks(t *testing.T) {
	for _, seen := range []string{"running", "unconfirmed"} {
		w := newWorld()
		w.guest = map[string]string{"kvm01": seen, "kvm02": "running"}
		src := &lateDaemon{fakeDaemon: &fakeDaemon{w: w, name: "kvm01"}, looks: 1}
		dst := &fakeDaemon{w: w, name: "kvm02"}
		a, b := sights(
			func() sight { return look(t.Context(), src, nil, guestUUID) },
			func() sight { return look(t.Context(), dst, nil, guestUUID) })
		if place, why := judge(a, b); place != AtDestination {
			t.Errorf("%s: %s (%s)", seen, place, why)
		}
	}
}

// unchangedBy fails unless recovery says the words and changes nothing, also after
// the arrival was recorded.
func unchangedBy(t *testing.T, w *world, words []string) {
	t.Helper()
	was := w.journal.migrations[0].State
	defer func() { w.journal.migrations[0].State = was }()
	for _, s := range []state.MigrationState{was, state.Arrived} {
		w.journal.migrations[0].State = s
		before := w.String()
		fs, err := w.recover()
		if err != nil || len(fs) != 1 || fs[0].Outcome != Unfinished || w.String() != before || w.journal.migrations[0].State != s {
			t.Fatalf("%s: %+v, %v\nfrom %s\nto %s", s, fs, err, before, w)
		}
		says(t, fs[0].Error, append([]string{"nothing was changed"}, words...)...)
	}
}

// destroyed does what the words say to type, and recovers.
func destroyed(t *testing.T, w *world, host string) {
	t.Helper()
	w.guest[host] = "stored"
	for _, v := range w.volumes { // as the hook there does
		delete(v.holders, host)
	}
	if host == "kvm02" { // whose definition goes as well, so that the new volume is nobody's
		w.guest[host] = ""
		w.volumes["data"].holders["kvm01"] = true
	}
	if fs, err := w.recover(); err != nil || len(fs) != 1 || fs[0].Outcome != Recovered {
		t.Fatalf("%+v, %v", fs, err)
	}
	checkInvariants(t, host+" stopped", w, Options{})
}
