package claims

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/volbridge/volbridge/pool"
)

// What is written can be read; only names may be shortened.
func TestNotesSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, id := rapid.StringN(0, 80, 200), rapid.StringMatching(`[ -~äß]{1,36}`)
		c := Claim{
			Place: Place{rapid.StringMatching(`([A-Za-z0-9+. ]{1,20})?`).Filter(func(s string) bool { return s != noPlace && !strings.HasPrefix(s, string(Plus)) }).Draw(t, "place"), rapid.SampledFrom([]Mark{"", Plus, Equals}).Draw(t, "mark")},
			Holder: pool.Holder{
				Host:   pool.Host{ID: id.Draw(t, "id"), Name: "k" + text.Draw(t, "name")},
				Owner:  pool.Owner{UUID: id.Draw(t, "uuid"), Name: text.Draw(t, "owner")},
				Mode:   rapid.SampledFrom([]pool.AccessMode{pool.Exclusive, pool.Handover, pool.Multi}).Draw(t, "mode"),
				Since:  time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "since"), 0),
				BootID: id.Draw(t, "boot"),
			}}
		c.Key = NewKey(c.Holder.Host.ID, time.Now())
		value, err := c.Value(256)
		if err != nil {
			if !strings.Contains(err.Error(), "too long") {
				t.Fatal(err)
			}
			return
		}
		if utf8.RuneCountInString(value) > 256 || strings.HasSuffix(value, " ") {
			t.Fatalf("%q", value)
		}
		back := Read(map[string]string{c.Key: value, "creation": "x"})
		if len(back) != 1 || back[0].Damaged != nil {
			t.Fatalf("%q was read as %+v", value, back)
		}
		got := back[0]
		for what, names := range map[string][2]string{
			"host": {got.Holder.Host.Name, c.Holder.Host.Name}, "owner": {got.Holder.Owner.Name, c.Holder.Owner.Name},
		} {
			if cut, is := strings.CutSuffix(names[0], cutMark); names[0] != names[1] && (!is || !strings.HasPrefix(names[1], cut)) {
				t.Fatalf("name of %s %q became %q", what, names[1], names[0])
			}
		}
		got.Holder.Host.Name, got.Holder.Owner.Name = c.Holder.Host.Name, c.Holder.Owner.Name
		if diff := cmp.Diff(c, got); diff != "" {
			t.Fatalf("%q (-written +read):\n%s", value, diff)
		}
	})
}

// An ordinary claim keeps its names whole.
func TestOrdinaryNote(t *testing.T) {
	c := Claim{Key: NewKey("id-kvm01", time.Unix(1764000000, 0)), Place: Place{Name: "kvm01", Mark: Plus}, Holder: pool.Holder{
		Host: pool.Host{ID: "id-kvm01", Name: "kvm01.example.org"}, Owner: pool.Owner{UUID: "d0000000-0000-4000-8000-000000000001", Name: "web server"},
		Mode: pool.Exclusive, Since: time.Unix(1764000000, 0), BootID: "8d3d6f0e-0000-4000-8000-000000000009",
	}}
	value, err := c.Value(256)
	must(t, err)
	want := "1 exclusive 1764000000 id-kvm01 8d3d6f0e-0000-4000-8000-000000000009 " +
		"d0000000-0000-4000-8000-000000000001 +kvm01 kvm01.example.org web%20server"
	if value != want {
		t.Errorf("wrote %q, want %q", value, want)
	}
	if len(c.Key) > 64 || !c.Asked().Equal(time.Unix(1764000000, 0)) {
		t.Errorf("key %q, made at %s", c.Key, c.Asked())
	}
}

func TestKeysAreInTheOrderOfTime(t *testing.T) {
	now := time.Now()
	first, second := NewKey("b", now), NewKey("a", now.Add(time.Microsecond))
	if nonce(first) >= nonce(second) {
		t.Errorf("%s is not before %s", first, second)
	}
}

func FuzzNote(f *testing.F) {
	f.Add("h.92f2b2c2f08bf80d.18e9fc7e5b8e19f527b1e74e", "1 exclusive 1764000000 id boot uuid - kvm01 web")
	f.Add("h.x.y", "1 multi -1 %20 %zz  +kvm01 ~ ~")
	f.Fuzz(func(t *testing.T, key, value string) {
		c, err := parse(key, value)
		if err != nil {
			return
		}
		if !c.OfHost(c.Holder.Host.ID) || c.check() != nil {
			t.Fatalf("%q = %q was read as %+v", key, value, c)
		}
		if _, err := c.Value(256); err != nil && !strings.Contains(err.Error(), "too long") {
			t.Fatal(err)
		}
	})
}

// A claim that cannot be read is one of somebody unknown: it stands in everybody's way.
func TestDamagedClaim(t *testing.T) {
	key := NewKey("id-kvm01", time.Now())
	for what, value := range map[string]string{
		"empty": "", "newer": "2 a b", "short": "1 exclusive 5", "escape": "1 exclusive 5 id-kvm01 %zz u - n o",
		"mode": "1 rw 5 id-kvm01 b u - n o", "time": "1 exclusive x id-kvm01 b u - n o",
		"another host's": "1 exclusive 5 id-kvm02 b u - n o", "no boot": "1 exclusive 5 id-kvm01  u - n o",
	} {
		m := &memory{notes: map[string]string{key: value}}
		before := maps.Clone(m.notes)
		for _, host := range []string{"kvm01", "kvm02"} {
			err := grant(t, ledger(m), request(host, "b", "web", pool.Multi), Place{})
			var held *pool.HeldError
			if err == nil || errors.As(err, &held) || !strings.Contains(err.Error(), "remove note "+key) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := ledger(m).Leave(t.Context()); err == nil {
			t.Errorf("%s: deleted", what)
		}
		if diff := cmp.Diff(before, m.notes); diff != "" {
			t.Errorf("%s: the board changed:\n%s", what, diff)
		}
		r := pool.RevokeRequest{Host: pool.Host{Name: "kvm01", ID: "id-kvm01"}}
		if meant, _, err := ledger(m).Split(r, Read(m.notes)); err != nil || len(meant) != 1 {
			t.Errorf("%s: revoked of every boot: %v, %v", what, meant, err)
		}
		r.BootIDs = []string{"b"}
		if _, _, err := ledger(m).Split(r, Read(m.notes)); err == nil {
			t.Errorf("%s: revoked of one boot, although it may be a clone's", what)
		}
	}
}

// Of many who want a volume for themselves one gets it, whatever the order.
func TestOneWins(t *testing.T) {
	for round := range 20 {
		m := &memory{}
		var wg sync.WaitGroup
		won, mu := []string{}, sync.Mutex{}
		for i := range 8 {
			host := fmt.Sprintf("kvm%02d", i)
			wg.Go(func() {
				err := grant(t, ledger(m), request(host, "b", "web", pool.Exclusive), Place{Name: host, Mark: Plus})
				var held *pool.HeldError
				if err != nil && !errors.As(err, &held) {
					t.Errorf("%s: %v", host, err)
				}
				if err == nil {
					mu.Lock()
					won = append(won, host)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(won) != 1 || len(m.notes) != 1 {
			t.Errorf("round %d: won by %v, notes %v", round, won, m.notes)
		}
	}
}

// A grant that is repeated keeps its time, and leaves one note.
func TestSettleKeepsOne(t *testing.T) {
	m := &memory{}
	l := ledger(m)
	start := time.Unix(1_700_000_000, 0)
	l.Now = func() time.Time { return start }
	must(t, grant(t, l, request("kvm01", "b1", "web", pool.Handover), Place{Name: "n1"}))
	l.Now = func() time.Time { return start.Add(time.Hour) }
	r := request("kvm01", "b2", "web", pool.Exclusive)
	r.PriorBootID = "b1"
	must(t, grant(t, l, r, Place{Name: "n1", Mark: Plus}))
	found := Read(m.notes)
	if len(found) != 1 || !found[0].Holder.Since.Equal(start) || found[0].Holder.BootID != "b2" || found[0].Place != (Place{"n1", Plus}) {
		t.Errorf("%+v", found)
	}
}

// After each fault at each call the claim is told of, or nothing is left of it.
func TestFaultsLeaveAClaimOrNothing(t *testing.T) {
	unreachable := fmt.Errorf("lost: %w", pool.ErrMaybeDone)
	for _, refuse := range []bool{false, true} {
		for n := 1; n <= 4; n++ {
			for _, done := range []bool{false, true} {
				m := &memory{}
				if refuse {
					must(t, grant(t, ledger(m), request("kvm02", "b", "db", pool.Exclusive), Place{}))
				}
				m.calls = 0
				m.fail = func(call int) (error, error) {
					if call != n {
						return nil, nil
					}
					if done {
						return nil, unreachable
					}
					return unreachable, nil
				}
				err := grant(t, ledger(m), request("kvm01", "b", "web", pool.Exclusive), Place{})
				struck := m.calls >= n
				m.fail = nil
				mine := 0
				for _, c := range Read(m.notes) {
					if c.OfHost("id-kvm01") {
						mine++
					}
				}
				var held *pool.HeldError
				if err == nil && (struck && refuse || mine != 1) || errors.As(err, &held) && mine > 0 {
					t.Errorf("refused %v, fault at %d (done %v): %v, and %d claims", refuse, n, done, err, mine)
				}
			}
		}
	}
}

// A host asks again for what it holds and is fenced meanwhile, whichever of its
// claims were seen: where its grant goes through there is a claim of it.
func TestFencedWhileAskingAgain(t *testing.T) {
	for what, seesBoth := range map[string]bool{"the new claim was seen": true, "the new claim was not seen": false} {
		m := &memory{}
		l, r := ledger(m), request("kvm01", "b", "web", pool.Exclusive)
		must(t, grant(t, l, r, Place{Name: "n1"}))
		seen := Read(m.notes)
		a, err := l.Announce(t.Context(), r, Place{Name: "n1"})
		must(t, err)
		if seesBoth {
			seen = Read(m.notes)
		}
		must(t, a.Settle(t.Context()))
		must(t, m.Drop(t.Context(), Keys(seen)...))
		left := Read(m.notes)
		if len(left) != 1 || left[0].Key != a.Mine.Key {
			t.Errorf("%s: left %+v", what, left)
		}
		fence := pool.RevokeRequest{Host: r.Host, BootIDs: []string{"b"}}
		if err := l.Again(fence, left); err == nil || !strings.Contains(err.Error(), "host kvm01") || !strings.Contains(err.Error(), "it is alive") {
			t.Errorf("%s: %v", what, err)
		}
		fence.Host.ID = "id-kvm02"
		must(t, l.Again(fence, left))
	}
}
