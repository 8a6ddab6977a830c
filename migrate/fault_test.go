package migrate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// TestEveryFaultAtEveryPoint breaks a migration at each outside call, in each
// way, and shows that after one recovery the guest runs in exactly one place
// and nothing is left that should not be.
func TestEveryFaultAtEveryPoint(t *testing.T) {
	variants := map[string]Options{
		"direct":        {},
		"peer to peer":  {Tuning: Tuning{PeerToPeer: true}},
		"remove source": {RemoveSource: true, Tuning: Tuning{UndefineSource: true}},
	}
	for name, o := range variants {
		o.Domain, o.DestURI = "web1", "fake://kvm02"
		o.Disks = map[string]DiskTarget{"vda": {Pool: "fast"}}
		for _, how := range []fault{failing, lostReply, crashing, crashed} {
			t.Run(fmt.Sprintf("%s/%s", name, how), func(t *testing.T) {
				t.Parallel()
				points := breakEverywhere(t, o, how)
				if points < 15 {
					t.Fatalf("only %d points were broken: the migration did not run", points)
				}
			})
		}
	}
}

// breakEverywhere breaks point 1, 2, … until a run ends without meeting the
// fault, and returns how many there were.
func breakEverywhere(t *testing.T, o Options, how fault) int {
	for n := 1; ; n++ {
		w := newWorld()
		w.failAt, w.how = n, how
		_, err := w.run(o)
		met := w.calls >= n
		if !met {
			if err != nil {
				t.Fatalf("without a fault: %v", err)
			}
			checkArrived(t, w, o)
			return n - 1
		}
		findings, err := w.recover()
		if err != nil {
			t.Fatalf("point %d: recover: %v", n, err)
		}
		for _, f := range findings {
			if f.Outcome == Unfinished {
				t.Errorf("point %d: left by recovery: %+v\n%s", n, f, w)
			}
		}
		checkInvariants(t, fmt.Sprintf("point %d", n), w, o)
	}
}

// TestNothingIsUndoneWhileUnderWay loses the client of a peer-to-peer
// migration at each point, and recovers twice: while the daemons still move the
// guest, and after it has arrived.
func TestNothingIsUndoneWhileUnderWay(t *testing.T) {
	o := Options{Domain: "web1", DestURI: "fake://kvm02", Disks: map[string]DiskTarget{"vda": {Pool: "fast"}}, Tuning: Tuning{PeerToPeer: true}}
	for _, how := range []fault{failing, lostReply, crashing, crashed} {
		met := 0
		for n := 1; ; n++ {
			w := newWorld()
			w.slow, w.failAt, w.how = true, n, how
			_, _ = w.run(o)
			if w.calls < n {
				break
			}
			if w.land == nil {
				continue
			}
			met++
			fs, err := w.recover()
			if err != nil || len(fs) != 1 || fs[0].Outcome != Unfinished || w.volumes["web1-vda"] == nil {
				t.Fatalf("%s, point %d: recovery while it is under way: %+v, %v\n%s", how, n, fs, err, w)
			}
			w.land()
			if fs, err = w.recover(); err != nil || fs[0].Outcome != Recovered {
				t.Fatalf("%s, point %d: recovery after it arrived: %+v, %v", how, n, fs, err)
			}
			checkInvariants(t, fmt.Sprintf("%s, point %d", how, n), w, o)
		}
		if met == 0 {
			t.Errorf("%s: no point left the migration under way", how)
		}
	}
}

func checkInvariants(t *testing.T, at string, w *world, o Options) {
	t.Helper()
	src, dst := w.guest["kvm01"] == "running", w.guest["kvm02"] == "running"
	if src == dst {
		t.Fatalf("%s: the guest runs on the source: %v, on the destination: %v", at, src, dst)
	}
	if dst {
		checkArrived(t, w, o)
	} else {
		checkStayed(t, at, w)
	}
	for _, m := range w.journal.migrations {
		if m.State != state.Finished && m.State != state.Undone {
			t.Errorf("%s: a migration stays %s after recovery", at, m.State)
		}
	}
}

func checkStayed(t *testing.T, at string, w *world) {
	t.Helper()
	if len(w.volumes) != 1 || w.volumes["data"] == nil {
		t.Errorf("%s: the guest stayed, but there are other volumes than before: %s", at, w)
	}
	if h := w.volumes["data"].holders; len(h) != 1 || !h["kvm01"] {
		t.Errorf("%s: the guest stayed, but data is held by %v", at, h)
	}
	if len(w.removed) > 0 {
		t.Errorf("%s: the guest stayed, but its images %v are gone", at, w.removed)
	}
}

func checkArrived(t *testing.T, w *world, o Options) {
	t.Helper()
	for _, name := range []string{"data", "web1-vda"} {
		v, ok := w.volumes[name]
		if !ok {
			t.Fatalf("the guest arrived, but volume %s is gone", name)
		}
		if len(v.holders) != 1 || !v.holders["kvm02"] {
			t.Errorf("the guest arrived, but %s is held by %v", name, v.holders)
		}
	}
	if !o.RemoveSource && len(w.removed) > 0 {
		t.Errorf("nobody asked to remove the source, but %v is gone", w.removed)
	}
}

// A record of a migration that died, and the guest has since been moved by
// another one, which made a volume of its own: ours is nobody's.
func TestMovedByAnotherMigration(t *testing.T) {
	w := diedMoving(t, Options{})
	w.volumes["other"] = &fakeVolume{Volume: pool.Volume{Pool: "fast", Name: "other"}, holders: map[string]bool{"kvm02": true}}
	w.guest = map[string]string{"kvm01": "stored", "kvm02": "running"}
	w.xml["kvm02"] = strings.ReplaceAll(twoDiskXML, "data", "other")
	w.volumes["data"].holders = map[string]bool{}
	if fs, err := w.recover(); err != nil || len(fs) != 1 || fs[0].Outcome != Recovered {
		t.Fatalf("%+v, %v", fs, err)
	}
	if w.volumes["web1-vda"] != nil || w.volumes["other"] == nil {
		t.Errorf("the volumes are %s", w)
	}
}

// The guest had arrived, the command died before it removed the source, and
// since then the guest has gone back there: its image is in use again.
func TestSourceInUseAgainIsNotRemoved(t *testing.T) {
	for name, guest := range map[string]map[string]string{
		"went back": {"kvm01": "running"},
		"shut off":  {"kvm01": "stored", "kvm02": "stored"},
	} {
		t.Run(name, func(t *testing.T) {
			w := diedMoving(t, Options{RemoveSource: true, Tuning: Tuning{UndefineSource: true}})
			w.journal.migrations[0].State = state.Arrived
			w.guest = guest
			if fs, err := w.recover(); err != nil || len(fs) != 1 || fs[0].Outcome != Recovered {
				t.Fatalf("%+v, %v", fs, err)
			}
			if len(w.removed) > 0 || w.volumes["web1-vda"] == nil {
				t.Errorf("removed %v, volumes %s", w.removed, w)
			}
		})
	}
}

// A destination that is silent may have the volume in a definition, whoever drove
// the migration: what has the newest data is deleted once it says no.
func TestRecoverWaitsForTheDestination(t *testing.T) {
	for _, p2p := range []bool{false, true} {
		w := diedMoving(t, Options{Tuning: Tuning{PeerToPeer: p2p}})
		w.guest = map[string]string{"kvm01": "running"}
		w.silent = "fake://kvm02"
		fs, err := w.recover()
		if len(fs) != 1 || fs[0].Outcome != Unfinished || w.volumes["web1-vda"] == nil {
			t.Fatalf("peer-to-peer %t: %+v, %v; volumes %s", p2p, fs, err, w)
		}
		w.silent = ""
		if fs, err := w.recover(); err != nil || len(fs) != 1 || fs[0].Outcome != Recovered || w.volumes["web1-vda"] != nil {
			t.Fatalf("peer-to-peer %t: %+v, %v; volumes %s", p2p, fs, err, w)
		}
	}
}

// diedMoving is a world in which the command died when libvirt had been told
// to migrate.
func diedMoving(t *testing.T, o Options) *world {
	t.Helper()
	o.Domain, o.DestURI = "web1", "fake://kvm02"
	o.Disks = map[string]DiskTarget{"vda": {Pool: "fast"}}
	for n := 1; ; n++ {
		w := newWorld()
		w.failAt, w.how = n, crashing
		if crash, err := w.run(o); !crash || err != nil {
			t.Fatal("the migration was never met while it moved")
		}
		if s := w.journal.steps; len(s) == 2 && s[1].Kind == stepMove {
			return w
		}
	}
}
