package flasharray_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab/flasharray"
)

// TestFaults: each kind answers as it says, at the call that was named and at
// no other, and takes effect or not.
func TestFaults(t *testing.T) {
	done := map[flasharray.FaultKind]bool{
		flasharray.Slow: true, flasharray.LostAfter: true, flasharray.ErrorAfter: true, flasharray.NonsenseAfter: true,
		flasharray.Truncated: true, flasharray.WrongTypes: true, flasharray.EmptyBody: true,
	}
	status := map[flasharray.FaultKind]int{flasharray.LostBefore: 0, flasharray.LostAfter: 0, flasharray.Unauthorized: 401,
		flasharray.TooMany: 429, flasharray.ServerError: 500, flasharray.ErrorAfter: 500, flasharray.Unavailable: 503}
	for _, kind := range flasharray.FaultKinds() {
		r := newRig(t, flasharray.Options{})
		r.FailAt(2, flasharray.Fault{Kind: kind, Method: "POST", Path: "/volumes", Delay: time.Millisecond})
		r.ok("POST", "/volumes", "names=v1", m{"provisioned": 1 << 20})
		r.ok("GET", "/volumes", "", nil)
		got, text, err := r.try("POST", "/volumes", "names=v2", m{"provisioned": 1 << 20})
		want, other := status[kind]
		if !other {
			want = 200
		}
		if got != want || (err != nil) != strings.HasPrefix(string(kind), "lost") {
			t.Errorf("%s: %d %s %v, want %d", kind, got, text, err, want)
		}
		if _, there := r.Volume("v2"); there != done[kind] {
			t.Errorf("%s: took effect: %v", kind, there)
		}
		var answer struct {
			Items []struct{ Name, Serial string }
		}
		if good := json.Unmarshal(text, &answer) == nil && len(answer.Items) == 1; good != (kind == flasharray.Slow) {
			t.Errorf("%s: readable: %v: %s", kind, good, text)
		}
		r.ok("POST", "/volumes", "names=v3", m{"provisioned": 1 << 20})
		if got := r.CountCalls("POST", "/volumes"); got != 3 {
			t.Errorf("%s: counted %d", kind, got)
		}
	}
}

func TestManagementDown(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.FailFrom(1, flasharray.Fault{Kind: flasharray.LostBefore})
	for range 3 {
		if _, _, err := r.try("GET", "/volumes", "", nil); err == nil {
			t.Fatal("it answered")
		}
	}
	r.ClearFaults()
	r.ok("GET", "/volumes", "", nil)
}

func TestSessionsEnd(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.ExpireSessions()
	if got, text, _ := r.try("GET", "/volumes", "", nil); got != 401 {
		t.Errorf("%d %s", got, text)
	}
	r.login()
	r.ok("GET", "/volumes", "", nil)
	if got := r.Logins(); got != 2 {
		t.Errorf("%d log-ins", got)
	}
}

func TestTheCallLogHasNoSecret(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	for _, c := range r.Calls() {
		if strings.Contains(c.String(), flasharray.TestToken) || strings.Contains(c.String(), r.token) {
			t.Error(c)
		}
	}
}

// A call that is carried out late does nothing before the test says so, and all
// of what it asked for then.
func TestLateCall(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.FailAt(1, flasharray.Fault{Kind: flasharray.LostLate, Method: "POST", Path: "/volumes"})
	if _, _, err := r.try("POST", "/volumes", "names=v1", m{"provisioned": 1 << 20}); err == nil {
		t.Error("it was answered")
	}
	if _, there := r.Volume("v1"); there {
		t.Error("it was done at once")
	}
	if n := r.CarryOutLate(); n != 1 {
		t.Errorf("%d calls were late", n)
	}
	if v, there := r.Volume("v1"); !there || v.SizeBytes != 1<<20 {
		t.Errorf("afterwards: %v %+v", there, v)
	}
	if n := r.CarryOutLate(); n != 0 {
		t.Errorf("%d calls were carried out twice", n)
	}
}

func TestRenamedHostStaysConnected(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.AddHost("kvm08", "nqn.2014-08.org.nvmexpress:uuid:8")
	r.AddVolumes("v", 1, 1<<20)
	if err := r.Connect("kvm08", "v1"); err != nil {
		t.Fatal(err)
	}
	r.RenameHost("kvm08", "kvm08-old")
	if got := r.Connections(); len(got) != 1 || got[0] != "v1 kvm08-old" {
		t.Errorf("connections %v", got)
	}
	if r.Disconnect("kvm08", "v1") == nil {
		t.Error("the old name is known")
	}
	if err := r.Disconnect("kvm08-old", "v1"); err != nil || len(r.Connections()) != 0 {
		t.Errorf("%v, connections %v", err, r.Connections())
	}
}
