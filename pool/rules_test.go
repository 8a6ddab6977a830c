package pool

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	h1, h2 = Host{Name: "kvm01", ID: "id1"}, Host{Name: "kvm02", ID: "id2"}
	// twin has the name of h1: two machines that were cloned without care.
	twin   = Host{Name: "kvm01", ID: "id9"}
	d1, d2 = Owner{"uuid-1", "one"}, Owner{"uuid-2", "two"}
)

func TestConflicts(t *testing.T) {
	holder := func(h Host, o Owner, m AccessMode) Holder { return Holder{Host: h, Owner: o, Mode: m, BootID: "b"} }
	for _, c := range []struct {
		name    string
		has     Holder
		host    Host
		owner   Owner
		mode    AccessMode
		refused bool
	}{
		{"repeated", holder(h1, d1, Exclusive), h1, d1, Exclusive, false},
		{"repeated in another mode", holder(h1, d1, Multi), h1, d1, Exclusive, false},
		{"cold start elsewhere", holder(h1, d1, Exclusive), h2, d1, Exclusive, true},
		{"cold start beside a handover", holder(h1, d1, Handover), h2, d1, Exclusive, true},
		{"cold start on a host of the same name", holder(h1, d1, Exclusive), twin, d1, Exclusive, true},
		{"handover", holder(h1, d1, Exclusive), h2, d1, Handover, false},
		{"handover after a handover", holder(h1, d1, Handover), h2, d1, Handover, false},
		{"handover of another domain", holder(h1, d1, Exclusive), h2, d2, Handover, true},
		{"handover beside multi", holder(h1, d1, Multi), h2, d1, Handover, true},
		{"multi", holder(h1, d1, Multi), h2, d2, Multi, false},
		{"multi beside exclusive", holder(h1, d1, Exclusive), h2, d2, Multi, true},
		{"multi beside own exclusive", holder(h1, d1, Exclusive), h2, d1, Multi, true},
		{"exclusive beside multi", holder(h1, d1, Multi), h2, d2, Exclusive, true},
		{"other domain on this host", holder(h1, d1, Exclusive), h1, d2, Exclusive, true},
		{"other domain arrives on this host", holder(h1, d1, Exclusive), h1, d2, Handover, true},
		{"two multi domains on this host", holder(h1, d1, Multi), h1, d2, Multi, false},
		{"multi beside another's exclusive on this host", holder(h1, d1, Exclusive), h1, d2, Multi, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := GrantRequest{Volume: "v", Host: c.host, BootID: "b", Owner: c.owner, Mode: c.mode}.Conflicts([]Holder{c.has})
			if refused := len(got) > 0; refused != c.refused {
				t.Errorf("refused: %v, want %v", refused, c.refused)
			}
		})
	}
}

// However grants and revocations follow each other, two domains never write
// one volume unless all are Multi.
func TestNoTwoOwnersUnlessMulti(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var holders []Holder
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			host := rapid.SampledFrom([]Host{h1, h2, twin}).Draw(t, "host")
			owner := rapid.SampledFrom([]Owner{d1, d2}).Draw(t, "owner")
			mode := rapid.SampledFrom([]AccessMode{Exclusive, Handover, Multi}).Draw(t, "mode")
			var rest []Holder
			for _, h := range holders {
				if h.Host != host || h.Owner != owner {
					rest = append(rest, h)
				}
			}
			if rapid.Bool().Draw(t, "revoke") {
				holders = rest
				continue
			}
			if len((GrantRequest{Host: host, Owner: owner, Mode: mode}).Conflicts(holders)) == 0 {
				if mode == Exclusive && len(rest) > 0 {
					t.Fatalf("exclusive beside %v", rest)
				}
				holders = append(rest, Holder{Host: host, Owner: owner, Mode: mode})
			}
			for _, a := range holders {
				for _, b := range holders {
					if a.Owner != b.Owner && (a.Mode != Multi || b.Mode != Multi) {
						t.Fatalf("%v beside %v", a, b)
					}
				}
			}
		}
	})
}

func TestValidate(t *testing.T) {
	good := GrantRequest{Volume: "v", Host: h1, BootID: "b", Owner: d1, Mode: Multi}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	err := GrantRequest{Mode: "share"}.Validate()
	for _, part := range []string{"needs both a name and an id", "the owner has no UUID", "the boot id is missing", `unknown access mode "share"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func TestHeldErrorSaysWhoAndWhatToDo(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	err := &HeldError{Pool: "p", Volume: "v", Holders: []Holder{{h1, d1, Exclusive, since, "b"}, {h2, d1, Handover, since, "c"}}}
	want := "volume p/v is held by host kvm01 for domain one (exclusive, since 2026-01-02 03:04:05)" +
		" and host kvm02 for domain one (handover, since 2026-01-02 03:04:05);" +
		" stop or migrate the domain there; if it does not run, run `volbridge recover` there;" +
		" if that host is dead, see `volbridge volume revoke p/v --help`"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestSortHolders(t *testing.T) {
	got := []Holder{{Host: h2}, {Host: twin}, {Host: h1, Owner: d2}, {Host: h1, Owner: d1}}
	SortHolders(got)
	if diff := cmp.Diff([]Holder{{Host: h1, Owner: d1}, {Host: h1, Owner: d2}, {Host: twin}, {Host: h2}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestHeldErrorOfThisHostAndOfAClone(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := GrantRequest{Volume: "v", Host: h1, BootID: "now", PriorBootID: "before", Owner: d1, Mode: Exclusive}
	for boot, want := range map[string]string{
		"now": "volume p/v is held by host kvm01 for domain two (exclusive, since 2026-01-02 03:04:05); " +
			"stop domain two here first; if it does not run, run `volbridge recover`",
		"before": "volume p/v is held by host kvm01 for domain two (exclusive, since 2026-01-02 03:04:05); " +
			"stop domain two here first; if it does not run, run `volbridge recover`",
		"other": "volume p/v is held by host kvm01 (which has the same id as this host, but another boot: " +
			"is one a clone of the other? if it is this host before its last boot, run `volbridge recover`) " +
			"for domain two (exclusive, since 2026-01-02 03:04:05)",
	} {
		err := &HeldError{Pool: "p", Volume: "v", Holders: []Holder{{h1, d2, Exclusive, since, boot}}, Request: &r}
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("%s: %s", boot, diff)
		}
		if len(err.Error()) > 400 {
			t.Errorf("%d bytes", len(err.Error()))
		}
	}
}
