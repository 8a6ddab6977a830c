package migrate

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/volbridge/volbridge/image/deploy"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// copyRecords are the copies that the test says.
type copyRecords struct {
	list  []state.Copy
	ended []string
}

func (r *copyRecords) Copies(context.Context) ([]state.Copy, error) { return r.list, nil }

func (r *copyRecords) EndCopy(_ context.Context, uuid string) error {
	r.ended = append(r.ended, uuid)
	return nil
}

// TestRecoverCopies: a living copy is left alone, and a dead one is taken back:
// what it attached, then what it made, then its record. Another's volume stays.
func TestRecoverCopies(t *testing.T) {
	const uuid = "copy-uuid"
	record := func(creationID string, writing bool) state.Copy {
		return state.Copy{OwnerUUID: uuid, Pool: "fast", Volume: "v", CreationID: creationID, Image: "/srv/i", Writing: writing}
	}
	var (
		errHeld = errors.New("in use")
		cases   = []struct {
			name    string
			copy    state.Copy
			volume  string // its creation id
			held    bool   // its command lives
			claim   error
			release error
			outcome Outcome
			deleted bool
		}{
			{"lives", record("ours", false), "ours", true, nil, nil, Kept, false},
			{"not known whether it lives", record("ours", false), "ours", false, errHeld, nil, Unfinished, false},
			{"died", record("ours", false), "ours", false, nil, nil, Recovered, true},
			{"died, but another made the volume", record("ours", false), "theirs", false, nil, nil, Recovered, false},
			{"died, and the device is in use", record("ours", false), "ours", false, nil, errHeld, Unfinished, false},
			{"died over a volume that was there", record("", true), "theirs", false, nil, nil, Recovered, false},
			{"died before it wrote", record("", false), "theirs", false, nil, nil, Recovered, false},
		}
	)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.volumes["v"] = &fakeVolume{Volume: pool.Volume{Pool: "fast", Name: "v", CreationID: c.volume}}
			a := state.Attachment{DomainUUID: uuid, DomainName: deploy.OwnerName, Pool: "fast", Volume: "v", Phase: state.Held, BootID: "boot"}
			copies := &copyRecords{list: []state.Copy{c.copy}}
			released := 0
			r := &Recoverer{Host: pool.Host{ID: "id"}, BootID: "boot", Now: time.Now,
				// libvirt is silent: it is not asked about a copy.
				LocalErr: errors.New("down"),
				Store:    records{all: []state.Attachment{a}, later: []state.Attachment{a}}, Copies: copies,
				LockDomain: func(context.Context, string) (func() error, error) { return func() error { return nil }, nil },
				Release: func(context.Context, state.Attachment) error {
					released++
					return c.release
				},
				Claim: func(string) (func() error, bool, error) { return func() error { return nil }, c.held, c.claim },
				Pools: func(string) (pool.Backend, error) { return fakePool{w}, nil },
				Mover: w.mover,
			}
			r.DryRun = true
			if fs, err := r.Recover(context.Background()); err != nil || len(fs) != 1 || released > 0 || len(copies.ended) > 0 || w.volumes["v"] == nil {
				t.Errorf("dry run: %+v, %v; released %d, ended %v", fs, err, released, copies.ended)
			}
			r.DryRun = false
			fs, err := r.Recover(context.Background())
			if err != nil || len(fs) != 1 || fs[0].Outcome != c.outcome || fs[0].Kind != "copy" {
				t.Errorf("%+v, %v; want %s", fs, err, c.outcome)
			}
			if deleted := w.volumes["v"] == nil; deleted != c.deleted {
				t.Errorf("deleted %v", deleted)
			}
			if ended := slices.Contains(copies.ended, uuid); ended != (c.outcome == Recovered) {
				t.Errorf("record ended %v", ended)
			}
			if want := c.outcome == Recovered || c.release != nil; (released > 0) != want {
				t.Errorf("released %d times", released)
			}
		})
	}
}

// A copy's command ends its record before it lets go: in between its lock alone
// tells that it lives.
func TestRecoverLeavesACopyThatLetsGo(t *testing.T) {
	a := state.Attachment{DomainUUID: "u", DomainName: deploy.OwnerName, Pool: "fast", Volume: "v", Phase: state.Held, BootID: "boot"}
	for held, want := range map[bool]Outcome{true: Kept, false: Recovered} {
		r := &Recoverer{BootID: "boot", Now: time.Now, Local: &localDaemon{},
			Store:      records{later: []state.Attachment{a}},
			LockDomain: func(context.Context, string) (func() error, error) { return func() error { return nil }, nil },
			Release:    func(context.Context, state.Attachment) error { return nil },
			Claim:      func(string) (func() error, bool, error) { return func() error { return nil }, held, nil },
		}
		if f := r.attachment(context.Background(), a); f.Outcome != want || f.Subject != "volume fast/v for a copy of an image" {
			t.Errorf("held %v: %+v", held, f)
		}
	}
	// A domain of that name that runs is a domain.
	r := &Recoverer{BootID: "boot", Now: time.Now, Local: &localDaemon{w: Whereabouts{Active: true}},
		Release: func(context.Context, state.Attachment) error { t.Error("released"); return nil },
		Claim:   func(string) (func() error, bool, error) { return func() error { return nil }, false, nil },
	}
	if f := r.attachment(context.Background(), a); f.Outcome != Kept {
		t.Errorf("a domain of that name: %+v", f)
	}
}
