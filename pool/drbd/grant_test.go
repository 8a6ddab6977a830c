package drbd

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/pool"
)

// TestMove: a guest arrives, and its source leaves; both hosts end with two
// primaries forbidden and with the protocol that they had.
func TestMove(t *testing.T) {
	for _, protocol := range []string{"C", "A"} {
		p := newPair(t)
		p.change(func(r *drbdsim.Resource, a, b *drbdsim.Replica) {
			r.Protocol, a.Protocol, b.Protocol = protocol, protocol, protocol
		})
		p.must(p.grant(p.a, hostA, web, pool.Exclusive))
		p.is("Primary/Secondary")
		c, err := p.b.Grant(t.Context(), request(hostB, web, pool.Handover))
		p.must(err)
		if !c.DRBD.Arriving || !c.Lasting || c.Path != "/dev/drbd/by-res/r0/0" || c.SizeBytes != size || c.DRBD.Minor != 3 {
			t.Errorf("connection %+v, %+v", c, c.DRBD)
		}
		p.must(p.revoke(p.a, hostA))
		p.is("Secondary/Primary")
		p.must(p.grant(p.a, hostA, web, pool.Handover))
		p.must(p.revoke(p.a, hostA)) // it did not arrive
		p.is("Secondary/Primary")
		p.must(p.revoke(p.b, hostB))
		p.is("Secondary/Secondary")
	}
}

// TestAnnounced: a host that is only told of a guest does not become Primary beside
// the one where it runs, and becomes it when the guest comes; alone at once.
func TestAnnounced(t *testing.T) {
	p := newPair(t)
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	for range 2 {
		c, err := p.b.Grant(t.Context(), announced(hostB, web))
		p.must(err)
		if !c.DRBD.Closed || !c.DRBD.Arriving || c.SizeBytes != size {
			t.Errorf("announced: %+v, %+v", c, c.DRBD)
		}
		p.is("Primary/Secondary")
	}
	if did, err := p.a.Tidy(t.Context(), false); len(did) > 0 || err != nil {
		t.Errorf("tidied %v, %v", did, err)
	}
	c, err := p.b.Grant(t.Context(), request(hostB, web, pool.Handover))
	p.must(err)
	if c.DRBD.Closed || !c.DRBD.Arriving {
		t.Errorf("it comes: %+v", c.DRBD)
	}
	p.is("Primary/Primary two")
	p.must(p.revoke(p.a, hostA))
	p.must(p.revoke(p.b, hostB))
	c, err = p.b.Grant(t.Context(), announced(hostB, web))
	p.must(err)
	if c.DRBD.Closed {
		t.Errorf("alone: %+v", c.DRBD)
	}
	p.is("Secondary/Primary")
}

func TestPeerIsNamed(t *testing.T) {
	p := newPair(t)
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	for _, mode := range []pool.AccessMode{pool.Exclusive, pool.Multi} {
		err := p.grant(p.b, hostB, web, mode)
		var held *pool.HeldError
		if !errors.As(err, &held) || held.Holders[0].Host.Name != "kvm01" || strings.Contains(err.Error(), "since") {
			t.Errorf("%s: %v", mode, err)
		}
	}
	all, err := p.b.Holders(t.Context(), "r0")
	p.must(err)
	if len(all) != 1 || all[0].Host.Name != "kvm01" || all[0].Owner.UUID != "" {
		t.Errorf("seen from kvm02: %+v", all)
	}
	if left, err := os.ReadDir(p.b.records); err != nil || len(left) != 1 {
		t.Errorf("a refused grant left %v, %v", left, err) // the lock
	}
	if err := p.b.Revoke(t.Context(), pool.RevokeRequest{Volume: "r0", Host: all[0].Host, BootIDs: []string{all[0].BootID}}); err == nil {
		t.Error("revoked from a peer that is alive")
	}
	p.is("Primary/Secondary")
}

// TestShared: two primaries stay allowed while two hosts share the volume, and
// while one of them may let the other in again.
func TestShared(t *testing.T) {
	p := newPair(t)
	p.must(p.grant(p.a, hostA, web, pool.Multi))
	p.must(p.grant(p.b, hostB, db, pool.Multi))
	p.is("Primary/Primary two")
	p.must(p.revoke(p.a, hostA))
	p.is("Secondary/Primary two")
	p.must(p.grant(p.a, hostA, web, pool.Multi))
	p.must(p.revoke(p.b, hostB))
	p.must(p.revoke(p.a, hostA))
	p.is("Secondary/Secondary")
}

// TestLeftOverTwoPrimaries: what is left over is forbidden before a cold start,
// so that the kernel keeps hosts apart again.
func TestLeftOverTwoPrimaries(t *testing.T) {
	p := newPair(t)
	p.change(func(_ *drbdsim.Resource, a, b *drbdsim.Replica) { a.Two, b.Two = true, true })
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	p.is("Primary/Secondary")
}

func TestLostPeer(t *testing.T) {
	p := newPair(t)
	p.change(func(_ *drbdsim.Resource, _, b *drbdsim.Replica) { b.Cut = true })
	err := p.grant(p.a, hostA, web, pool.Exclusive)
	if err == nil || !strings.Contains(err.Error(), "volbridge volume revoke p/r0 --host kvm02") {
		t.Errorf("a peer of which nothing is known: %v", err)
	}
	p.is("Secondary/Secondary")
	all, err := p.a.Holders(t.Context(), "r0")
	p.must(err)
	if len(all) != 1 || all[0].Host.Name != "kvm02" {
		t.Fatalf("holders %+v", all)
	}
	dead := pool.RevokeRequest{Volume: "r0", Host: all[0].Host, BootIDs: []string{all[0].BootID}}
	p.must(p.a.Revoke(t.Context(), dead))
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	p.must(p.revoke(p.a, hostA))

	// It is back, and lost again: what was said of it counts no more.
	p.change(func(_ *drbdsim.Resource, _, b *drbdsim.Replica) { b.Cut = false })
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	p.must(p.revoke(p.a, hostA))
	p.change(func(_ *drbdsim.Resource, _, b *drbdsim.Replica) { b.Cut = true })
	if err := p.grant(p.a, hostA, web, pool.Exclusive); err == nil {
		t.Error("granted beside a peer that was lost anew")
	}
}

// TestOutdatedPeer: DRBD there does not become Primary, so it need not be asked.
func TestOutdatedPeer(t *testing.T) {
	p := newPair(t)
	p.change(func(_ *drbdsim.Resource, _, b *drbdsim.Replica) { b.Cut, b.Disk = true, "Outdated" })
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	p.must(p.revoke(p.a, hostA))
}

// TestOutrun: while this host becomes Primary another one does, past the
// kernel. Of two that ask at once, both see the other, and this one gives way.
func TestOutrun(t *testing.T) {
	for at := 1; ; at++ {
		p := newPair(t)
		p.must(p.Arm(at, drbdsim.Outrun))
		err := p.grant(p.a, hostA, web, pool.Exclusive)
		now, stateErr := p.State()
		p.must(stateErr)
		if now.Fault.At != 0 { // there are no more calls
			p.must(err)
			break
		}
		promoted := slices.Index(now.Calls, "kvm01: drbdadm primary r0") + 1
		if err == nil && (promoted == 0 || promoted >= at) { // later the other one sees this host
			t.Errorf("call %d: granted beside another one", at)
		}
		var held *pool.HeldError
		all, heldErr := p.a.HeldBy(t.Context(), hostA.ID)
		p.must(heldErr)
		if errors.As(err, &held) {
			if role := now.Resources["r0"].Hosts["kvm01"].Role; role != "Secondary" || len(all) > 0 {
				t.Errorf("call %d: refused, and it is %s and holds %v", at, role, all)
			}
		}
		p.must(p.revoke(p.a, hostA))
	}
}

// TestRefusals: nothing is changed.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(r *drbdsim.Resource, a, b *drbdsim.Replica)
		want  string
	}{
		"down":             {func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Down = true }, "drbdadm up r0"},
		"split":            {func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.StandAlone = true }, "split brain"},
		"old data":         {func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Disk = "Outdated" }, "Outdated"},
		"fetching":         {func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Disk, a.Target = "Inconsistent", true }, "SyncTarget); wait"},
		"two, configured":  {func(r *drbdsim.Resource, _, _ *drbdsim.Replica) { r.ConfigTwo = true }, "drbdadm adjust r0"},
		"two volumes":      {func(r *drbdsim.Resource, _, _ *drbdsim.Replica) { r.Volumes = 2 }, "[0 1]"},
		"not of this host": {func(r *drbdsim.Resource, _, _ *drbdsim.Replica) { delete(r.Hosts, "kvm01") }, "no DRBD resource r0"},
		"fetching on its way": {func(_ *drbdsim.Resource, a, b *drbdsim.Replica) {
			a.Disk, a.Target, b.Role = "Inconsistent", true, "Primary"
		}, "SyncTarget); wait"},
		"arrives, source lost": {func(_ *drbdsim.Resource, _, b *drbdsim.Replica) { b.Role, b.Cut = "Primary", true }, "not connected"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.change(c.spoil)
			before, err := p.State()
			p.must(err)
			if err := p.grant(p.a, hostA, web, pool.Handover); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("granted: %v", err)
			}
			after, err := p.State()
			p.must(err)
			if diff := cmp.Diff(before.Resources, after.Resources); diff != "" {
				t.Errorf("changed:\n%s", diff)
			}
			p.must(p.revoke(p.a, hostA))
		})
	}
}

func TestOpenDeviceIsNotTaken(t *testing.T) {
	p := newPair(t)
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	p.change(func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Open = true })
	if err := p.revoke(p.a, hostA); err == nil || !strings.Contains(err.Error(), "fuser -v /dev/drbd/by-res/r0/0") {
		t.Errorf("%v", err)
	}
	if held, err := p.a.HeldBy(t.Context(), hostA.ID); err != nil || len(held) != 1 {
		t.Errorf("held %v, %v", held, err)
	}
	p.change(func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Open = false })
	p.must(p.revoke(p.a, hostA))
}

// TestUsedByHand: a device that somebody on this host has open past volbridge is
// not given to a guest. One that is only promoted is free.
func TestUsedByHand(t *testing.T) {
	for _, mode := range []pool.AccessMode{pool.Exclusive, pool.Handover, pool.Multi} {
		p := newPair(t)
		p.change(func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Role, a.Open = "Primary", true })
		err := p.grant(p.a, hostA, web, mode)
		if err == nil || !strings.Contains(err.Error(), "not by volbridge") || !strings.Contains(err.Error(), "fuser -v") {
			t.Errorf("%s: %v", mode, err)
		}
		p.must(p.revoke(p.a, hostA)) // nothing was written down
		p.is("Primary/Secondary")
		p.change(func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Open = false })
		p.must(p.grant(p.a, hostA, web, mode))
		p.change(func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Open = true })
		p.must(p.grant(p.a, hostA, web, mode)) // its own guest has it
		p.change(func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Open = false })
		p.must(p.revoke(p.a, hostA))
		p.is("Secondary/Secondary")
	}
}

// TestTakenDown: what is held of a resource that somebody took down can be
// returned.
func TestTakenDown(t *testing.T) {
	p := newPair(t)
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	p.change(func(_ *drbdsim.Resource, a, _ *drbdsim.Replica) { a.Down, a.Role = true, "Secondary" })
	if c, err := p.a.Connection(t.Context(), "r0", hostA); err != nil || c.SizeBytes != size {
		t.Errorf("%+v, %v", c, err)
	}
	p.must(p.revoke(p.a, hostA))
	if _, err := p.a.Connection(t.Context(), "r0", hostA); err == nil {
		t.Error("a connection to nothing")
	}
}

func TestDamagedRecord(t *testing.T) {
	for _, text := range []string{"", "{", "{}", `{"format":1,"volume":"r0","grants":[{}]}`, `{"format":1,"volume":"r1","grants":null}`,
		`{"format":1,"volume":"r0","size_bytes":0,"grants":null,"more":1}`, `{"format":1,"volume":"r0","size_bytes":0,"grants":null}{}`} {
		p := newPair(t)
		p.must(errors.Join(os.MkdirAll(p.a.records, 0o700), os.WriteFile(p.a.file("r0"), []byte(text), 0o600)))
		for what, err := range map[string]error{"grant": p.grant(p.a, hostA, web, pool.Exclusive), "revoke": p.revoke(p.a, hostA)} {
			if err == nil || !strings.Contains(err.Error(), "drbdadm secondary r0") {
				t.Errorf("%s with record %q: %v", what, text, err)
			}
		}
		p.is("Secondary/Secondary")
	}
}

func TestPatterns(t *testing.T) {
	p := newPair(t)
	p.must(p.Add("vm-1", 4, size, "kvm01", "kvm02"))
	p.must(p.Add("vm-2", 5, size, "kvm01", "kvm02"))
	p.must(p.Change(func(s *drbdsim.State) error { s.Resources["vm-2"].Hosts["kvm01"].Down = true; return nil }))
	p.a.patterns = []string{"vm-?"}
	all, err := p.a.List(t.Context())
	if err == nil || !strings.Contains(err.Error(), "drbdadm up vm-2") {
		t.Errorf("%v", err)
	}
	if len(all) != 1 || all[0].Name != "vm-1" {
		t.Errorf("%+v", all)
	}
	p.must(p.a.Check(t.Context())) // although one is down
	if err := p.b.Check(t.Context()); err != nil {
		t.Error(err)
	}
	p.b.patterns = []string{"other"}
	if err := p.b.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "no DRBD resource") {
		t.Errorf("a pool without resources: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.a.LookupPath(ended, "/dev/drbd/by-res/r0/0"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("a path of another pool: %v", err)
	}
	for _, path := range []string{"/dev/drbd0", "/dev/drbd/by-res/vm-1", "/dev/drbd/by-res/vm-1/1", "/dev/drbd/by-res/vm-1/00", "/dev/drbd/by-disk/vm-1/0"} {
		if _, err := p.a.LookupPath(ended, path); !errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTidy(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(p *pair)
		tidies bool
		then   string
	}{
		"nothing is left": {func(p *pair) { p.must(p.grant(p.a, hostA, web, pool.Exclusive)) }, false, "Primary/Secondary"},
		"the guest stayed": {func(p *pair) {
			p.must(p.grant(p.a, hostA, web, pool.Exclusive))
			p.must(p.grant(p.b, hostB, web, pool.Handover))
			p.change(func(_ *drbdsim.Resource, _, b *drbdsim.Replica) { b.Cut, b.Role, b.Two = true, "Secondary", false })
		}, true, "Primary/Secondary"},
		"a move is under way": {func(p *pair) {
			p.must(p.grant(p.a, hostA, web, pool.Exclusive))
			p.must(p.grant(p.b, hostB, web, pool.Handover))
		}, false, "Primary/Primary two"},
		"shared": {func(p *pair) { p.must(p.grant(p.a, hostA, web, pool.Multi)) }, false, "Primary/Secondary two"},
		"shared elsewhere": {func(p *pair) {
			p.must(p.grant(p.b, hostB, web, pool.Multi))
		}, false, "Secondary/Primary two"},
		"nobody has it": {func(p *pair) {
			p.change(func(_ *drbdsim.Resource, a, b *drbdsim.Replica) { a.Two, b.Two = true, true })
		}, true, "Secondary/Secondary"},
		"not ours": {func(p *pair) {
			p.change(func(r *drbdsim.Resource, a, b *drbdsim.Replica) { r.ConfigTwo, a.Two, b.Two = true, true, true })
		}, false, "Secondary/Secondary two"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			c.set(p)
			before, err := p.State()
			p.must(err)
			for _, dry := range []bool{true, false} {
				did, err := p.a.Tidy(t.Context(), dry)
				if err != nil || (len(did) == 1) != c.tidies {
					t.Errorf("dry %v: %v, %v", dry, did, err)
				}
				now, err := p.State()
				p.must(err)
				if diff := cmp.Diff(before.Resources, now.Resources); dry && diff != "" {
					t.Errorf("a dry run changed:\n%s", diff)
				}
			}
			p.is(c.then)
			if did, err := p.a.Tidy(t.Context(), false); len(did) != 0 || err != nil {
				t.Errorf("again: %v, %v", did, err)
			}
		})
	}
}
