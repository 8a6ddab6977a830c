package drbd

import (
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/pool"
)

// lost takes the replication link away, or gives it back.
func (p *pair) lost(yes bool) {
	p.Helper()
	p.change(func(_ *drbdsim.Resource, _, b *drbdsim.Replica) { b.Cut = yes })
}

// dead says that kvm02 is.
func (p *pair) dead() error {
	return p.a.Revoke(p.ctx, pool.RevokeRequest{Volume: "r0", Host: pool.Host{Name: "kvm02", ID: peerID + "kvm02"}, BootIDs: []string{peerBoot}})
}

// TestBackFromTheDead: a peer that was called dead comes back, starts a guest and
// is lost again, and this host is not asked for anything meanwhile.
func TestBackFromTheDead(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(p *pair) // the peer is called dead
		between func(p *pair) // it is back, and has a guest
		later   time.Duration
		granted bool
	}{
		"at once":            {nothingYet, nil, 0, true},
		"within the time":    {nothingYet, nil, goneFor, true},
		"too late":           {nothingYet, nil, goneFor + 1, false},
		"the clock is back":  {nothingYet, nil, -1, false},
		"seen by a recovery": {nothingYet, func(p *pair) { _, err := p.a.Tidy(p.ctx, false); p.must(err) }, 0, false},
		"only looked at":     {nothingYet, func(p *pair) { _, err := p.a.Tidy(p.ctx, true); p.must(err) }, 0, true},
		"a guest ran here all the time": {func(p *pair) {
			p.must(p.grant(p.a, hostA, web, pool.Exclusive))
			p.a.sinceBoot = later(p.a.sinceBoot, 2*goneFor)
			p.must(p.revoke(p.a, hostA))
		}, nil, goneFor, true},
		"a guest left for the peer": {func(p *pair) {
			p.leaves(func() {})
		}, nil, 0, false},
		"a guest left for the peer, and recovery came first": {func(p *pair) {
			p.leaves(func() { _, err := p.a.Tidy(p.ctx, false); p.must(err) })
		}, nil, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.a.sinceBoot = func() time.Duration { return time.Hour }
			p.lost(true)
			p.must(p.dead())
			c.before(p)
			if c.between != nil {
				p.lost(false)
				c.between(p)
				p.lost(true)
			}
			p.a.sinceBoot = later(p.a.sinceBoot, c.later)
			err := p.grant(p.a, hostA, web, pool.Exclusive)
			if c.granted && err != nil || !c.granted && (err == nil || !strings.Contains(err.Error(), "is not connected")) {
				t.Errorf("granted %v: %v", err == nil, err)
			}
			if all, err := p.a.Holders(p.ctx, "r0"); err != nil || len(all) != 1 || (all[0].Host.ID == hostA.ID) != c.granted {
				t.Errorf("holders %+v, %v", all, err)
			}
			p.must(p.dead()) // once more
			p.must(p.grant(p.a, hostA, web, pool.Exclusive))
			p.must(p.revoke(p.a, hostA))
		})
	}
}

func nothingYet(*pair) {}

// leaves lets a guest move to the peer, which is back, over another network than
// the one that is lost again meanwhile.
func (p *pair) leaves(between func()) {
	p.Helper()
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	p.lost(false)
	p.must(p.grant(p.b, hostB, web, pool.Handover))
	p.lost(true)
	between()
	p.must(p.revoke(p.a, hostA))
}

func later(clock func() time.Duration, d time.Duration) func() time.Duration {
	now := clock() + d
	return func() time.Duration { return now }
}

// TestDeadBesideAnAnnouncement: only a Primary keeps a peer that is back from
// becoming one, and not a host to which a guest is only announced.
func TestDeadBesideAnAnnouncement(t *testing.T) {
	rec := record{Grants: []grant{{}}, Gone: []string{"kvm03"}}
	for role, counts := range map[string]bool{drbdtools.Primary: true, "Secondary": false} {
		v := view{state: drbdtools.State{Role: role}}
		if got := rec.back(v, 2*goneFor); (len(got.Gone) == 1) != counts {
			t.Errorf("%s: %v", role, got.Gone)
		}
	}
}

// TestSinceBoot: it goes on, and is none that people set.
func TestSinceBoot(t *testing.T) {
	if a, b := sinceBoot(), sinceBoot(); a <= 0 || b < a || b > 1<<60 {
		t.Errorf("%s, %s", a, b)
	}
}
