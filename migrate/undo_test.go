package migrate

import (
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// diedPreparing is a world in which the command died when the volume had been
// made, and libvirt was not told to migrate yet.
func diedPreparing(t *testing.T) *world {
	t.Helper()
	for n := 1; ; n++ {
		w := newWorld()
		w.failAt, w.how = n, crashing
		crash, err := w.run(Options{Domain: "web1", DestURI: "fake://kvm02", Disks: map[string]DiskTarget{"vda": {Pool: "fast"}}})
		if !crash || err != nil {
			t.Fatal("the migration was never met between the volume and libvirt")
		}
		if s := w.journal.steps; len(s) == 1 && s[0].Status == state.Done {
			return w
		}
	}
}

// Somebody may have given the new volume to another guest, which is shut off and
// so holds nothing: only the daemons know.
func TestUndoAsksBothDaemons(t *testing.T) {
	for _, silent := range []string{"fake://kvm01", "fake://kvm02", "fake://kvm01 fake://kvm02"} {
		t.Run(silent, func(t *testing.T) {
			w := diedPreparing(t)
			w.silent = silent
			fs, err := w.recover()
			if err != nil || len(fs) != 1 || fs[0].Outcome != Unfinished || w.volumes["web1-vda"] == nil {
				t.Fatalf("%+v, %v; volumes %s", fs, err, w)
			}
			for _, want := range []string{"whether a domain uses volume fast/web1-vda is not known", silent[:len("fake://kvm0N")], "recover --abandon 1"} {
				if !strings.Contains(fs[0].Error, want) {
					t.Errorf("%q does not say %q", fs[0].Error, want)
				}
			}
			w.silent = ""
			if fs, err := w.recover(); err != nil || len(fs) != 1 || fs[0].Outcome != Recovered || w.volumes["web1-vda"] != nil {
				t.Errorf("once both answer: %+v, %v; volumes %s", fs, err, w)
			}
		})
	}
}

// Nor does one that was connected to and then breaks off: the time in which somebody
// can have used the volume is as long as the command is dead.
func TestUndoNeedsTheAnswers(t *testing.T) {
	for _, host := range []string{"kvm01", "kvm02"} {
		w := diedPreparing(t)
		w.mute = host
		if fs, err := w.recover(); err != nil || len(fs) != 1 || fs[0].Outcome != Unfinished || w.volumes["web1-vda"] == nil {
			t.Errorf("%s: %+v, %v; volumes %s", host, fs, err, w)
		}
		w.mute = ""
		if fs, err := w.recover(); err != nil || len(fs) != 1 || fs[0].Outcome != Recovered || w.volumes["web1-vda"] != nil {
			t.Errorf("%s, answering again: %+v, %v; volumes %s", host, fs, err, w)
		}
	}
}

// The record has no path until all volumes are made; the pool has it.
func TestUndoLeavesAVolumeThatIsUsedMeanwhile(t *testing.T) {
	for _, host := range []string{"kvm01", "kvm02"} {
		t.Run(host, func(t *testing.T) {
			w := diedPreparing(t)
			w.guest[host] = "stored"
			w.xml[host] = strings.ReplaceAll(twoDiskXML, "fast/data", "fast/web1-vda")
			fs, err := w.recover()
			if err != nil || len(fs) != 1 || fs[0].Outcome != Unfinished || !strings.Contains(fs[0].Error, "named by domain") || w.volumes["web1-vda"] == nil {
				t.Errorf("%+v, %v; volumes %s", fs, err, w)
			}
		})
	}
}

// A volume of that name which somebody else made is left alone, whoever uses it.
func TestUndoEndsWhereTheVolumeIsAnother(t *testing.T) {
	w := diedPreparing(t)
	w.volumes["web1-vda"] = &fakeVolume{Volume: pool.Volume{Pool: "fast", Name: "web1-vda", CreationID: "another"}}
	w.xml["kvm01"] = strings.ReplaceAll(twoDiskXML, "fast/data", "fast/web1-vda")
	fs, err := w.recover()
	if err != nil || len(fs) != 1 || fs[0].Outcome != Recovered || w.volumes["web1-vda"] == nil {
		t.Errorf("%+v, %v; volumes %s", fs, err, w)
	}
}
