package migrate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// records is a store whose content may change between two looks, as a hook
// would change it.
type records struct {
	all   []state.Attachment
	later []state.Attachment // what Domain sees
}

func (r records) All(context.Context) ([]state.Attachment, error) { return r.all, nil }
func (r records) Domain(context.Context, string) ([]state.Attachment, error) {
	return r.later, nil
}

func (r records) Claim(_ context.Context, a state.Attachment) (state.Attachment, bool, error) {
	return a, false, nil
}

// localDaemon answers Where with what the test says.
type localDaemon struct {
	fakeDaemon
	w   Whereabouts
	err error
}

func (d *localDaemon) Where(context.Context, string) (Whereabouts, error) { return d.w, d.err }

func TestRecoverJudgesAttachments(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	record := func(phase state.Phase, boot string, age time.Duration) state.Attachment {
		return state.Attachment{DomainUUID: guestUUID, DomainName: "web1", Target: "vda", Pool: "fast", Volume: "v",
			Phase: phase, BootID: boot, Updated: now.Add(-age)}
	}
	active := Whereabouts{Active: true, State: "running"}
	arriving := Whereabouts{Active: true, Switching: true, State: "paused for migration"}
	cases := []struct {
		name     string
		a        state.Attachment
		w        Whereabouts
		err      error
		want     Outcome
		released bool
	}{
		{"runs", record(state.Held, "boot", time.Hour), active, nil, Kept, false},
		{"arrives", record(state.Held, "boot", time.Hour), arriving, nil, Kept, false},
		{"runs again after a boot", record(state.Held, "old", time.Hour), active, nil, Kept, false},
		{"young pending", record(state.Pending, "boot", time.Second), Whereabouts{}, nil, Kept, false},
		{"old pending", record(state.Pending, "boot", time.Hour), Whereabouts{}, nil, Recovered, true},
		{"pending since the clock was ahead", record(state.Pending, "boot", -3*time.Hour), Whereabouts{}, nil, Recovered, true},
		{"pending since the clock was a little ahead", record(state.Pending, "boot", -time.Second), Whereabouts{}, nil, Kept, false},
		{"young pending of another boot", record(state.Pending, "old", time.Second), Whereabouts{}, nil, Recovered, true},
		{"held, not active", record(state.Held, "boot", time.Second), Whereabouts{Defined: true}, nil, Recovered, true},
		{"hook died attaching", record(state.Attaching, "boot", time.Second), Whereabouts{}, nil, Recovered, true},
		{"release not finished", record(state.Releasing, "boot", time.Second), Whereabouts{}, nil, Recovered, true},
		{"before the last boot", record(state.Held, "old", time.Second), Whereabouts{}, nil, Recovered, true},
		{"libvirt silent", record(state.Pending, "old", time.Hour), Whereabouts{}, errors.New("down"), Unfinished, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			released := false
			r := &Recoverer{BootID: "boot", PendingAge: 2 * time.Minute, Now: func() time.Time { return now },
				Local: &localDaemon{w: c.w, err: c.err},
				Store: records{all: []state.Attachment{c.a}, later: []state.Attachment{c.a}},
				LockDomain: func(context.Context, string) (func() error, error) {
					return func() error { return nil }, nil
				},
				Release: func(context.Context, state.Attachment) error { released = true; return nil },
			}
			if f := r.attachment(context.Background(), c.a); f.Outcome != c.want || released != c.released {
				t.Errorf("%+v, released %v; want %s, %v", f, released, c.want, c.released)
			}
			r.DryRun, released = true, false
			if f := r.attachment(context.Background(), c.a); released || (c.released && f.Outcome != WouldDo) {
				t.Errorf("dry run: %+v, released %v", f, released)
			}
		})
	}
}

// A hook that runs between libvirt's answer and recovery's lock has its way.
func TestRecoverLeavesWhatAHookTouchedMeanwhile(t *testing.T) {
	a := state.Attachment{DomainUUID: guestUUID, Pool: "fast", Volume: "v", Phase: state.Pending, BootID: "old"}
	touched := a
	touched.Phase, touched.Updated = state.Held, time.Now()
	r := &Recoverer{BootID: "boot", Now: time.Now, Local: &localDaemon{},
		Store: records{all: []state.Attachment{a}, later: []state.Attachment{touched}},
		LockDomain: func(context.Context, string) (func() error, error) {
			return func() error { return nil }, nil
		},
		Release: func(context.Context, state.Attachment) error { t.Fatal("released"); return nil },
	}
	if f := r.attachment(context.Background(), a); f.Outcome != Unfinished || f.Error == "" {
		t.Errorf("%+v, want it left with an error", f)
	}
}

// The state file was lost: the pool still knows that this host holds a volume.
func TestRecoverFindsStrayGrants(t *testing.T) {
	for name, c := range map[string]struct {
		active  bool
		host    pool.Host
		boot    string
		outcome Outcome
	}{
		"runs":                         {true, pool.Host{Name: "kvm01", ID: "id-kvm01"}, "boot", Kept},
		"does not run":                 {false, pool.Host{Name: "kvm01", ID: "id-kvm01"}, "boot", Recovered},
		"under another name":           {false, pool.Host{Name: "new", ID: "id-kvm01"}, "boot", Recovered},
		"of another boot, or a clone":  {false, pool.Host{Name: "kvm01", ID: "id-kvm01"}, "later", Unfinished},
		"of another host of this name": {false, pool.Host{Name: "kvm01", ID: "else"}, "boot", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			var released []string
			r := &Recoverer{Host: c.host, BootID: c.boot, Now: time.Now,
				Local: &localDaemon{w: Whereabouts{Active: c.active}}, Store: records{},
				LockDomain: func(context.Context, string) (func() error, error) {
					return func() error { return nil }, nil
				},
				Release:   func(_ context.Context, a state.Attachment) error { released = append(released, a.Volume); return nil },
				Pools:     func(string) (pool.Backend, error) { return fakePool{w}, nil },
				PoolNames: []string{"fast"}, Mover: w.mover,
			}
			fs, err := r.Recover(context.Background())
			found := Outcome("")
			if len(fs) == 1 {
				found = fs[0].Outcome
			}
			if err != nil || len(fs) > 1 || found != c.outcome || (len(released) == 1) != (c.outcome == Recovered) {
				t.Errorf("%+v, released %v, error %v", fs, released, err)
			}
		})
	}
}

// A pool that was configured twice shows the grants of the other one. They are
// not returned: the guest that has them may be arriving just now.
func TestRecoverLeavesGrantsOfATwinPool(t *testing.T) {
	w := newWorld()
	holders, err := fakePool{w}.Holders(context.Background(), "data")
	if err != nil || len(holders) != 1 {
		t.Fatalf("%v, %v", holders, err)
	}
	twin := state.Attachment{DomainUUID: holders[0].Owner.UUID, DomainName: "web1", Pool: "twin", Volume: "data",
		Phase: state.Pending, BootID: "boot", Updated: time.Now()}
	r := &Recoverer{Host: pool.Host{Name: "kvm01", ID: "id-kvm01"}, BootID: "boot", Now: time.Now, PendingAge: time.Hour,
		Local: &localDaemon{}, Store: records{all: []state.Attachment{twin}, later: []state.Attachment{twin}},
		LockDomain: func(context.Context, string) (func() error, error) {
			return func() error { return nil }, nil
		},
		Release:   func(context.Context, state.Attachment) error { t.Error("released"); return nil },
		Pools:     func(string) (pool.Backend, error) { return fakePool{w}, nil },
		PoolNames: []string{"fast"}, Mover: w.mover,
	}
	fs, err := r.Recover(context.Background())
	if err != nil || len(fs) != 2 || fs[0].Outcome != Kept || fs[1].Outcome != Unfinished || !strings.Contains(fs[1].Error, "twin/data") {
		t.Errorf("%+v, %v", fs, err)
	}
}

// A pool that cannot be looked at may hold nothing of this host; what another
// one holds is found nevertheless.
func TestRecoverPastAPoolThatIsSilent(t *testing.T) {
	w := newWorld()
	r := &Recoverer{Host: pool.Host{Name: "kvm01", ID: "id-kvm01"}, BootID: "later", Now: time.Now,
		Local: &localDaemon{}, Store: records{},
		Pools: func(name string) (pool.Backend, error) {
			if name == "silent" {
				return nil, pool.ErrUnreachable
			}
			return fakePool{w}, nil
		},
		PoolNames: []string{"silent", "fast"}, Mover: w.mover,
	}
	fs, err := r.Recover(context.Background())
	if err != nil || len(fs) != 2 || fs[0].Outcome != Unknown || fs[0].Error == "" || fs[1].Outcome != Unfinished {
		t.Errorf("%+v, %v", fs, err)
	}
	if _, err := r.Abandon(context.Background(), 7); !errors.Is(err, ErrNoMigration) {
		t.Errorf("abandon of what there is not: %v", err)
	}
}
