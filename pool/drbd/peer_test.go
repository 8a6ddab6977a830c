package drbd

import (
	"errors"
	"os"
	"testing"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/pool"
)

// TestPeersByName: the configuration says who may have the volume, the kernel who
// has it. Where they do not agree nobody is taken for another, or left out.
func TestPeersByName(t *testing.T) {
	seen := func(name, connection, role string) drbdtools.Peer {
		return drbdtools.Peer{Name: name, Connection: connection, Role: role}
	}
	for name, c := range map[string]struct {
		kernel  []drbdtools.Peer
		silent  string // the peers of which nobody knows
		primary string
	}{
		"8.4":                {[]drbdtools.Peer{seen("peer", "Connected", "Primary")}, "", "kvm02"},
		"8.4 without a name": {[]drbdtools.Peer{seen("", "Connected", "Primary")}, "", "kvm02"},
		"9":                  {[]drbdtools.Peer{seen("kvm02", "Connected", "Primary")}, "", "kvm02"},
		"none":               {nil, "kvm02", ""},
		"exchanged":          {[]drbdtools.Peer{seen("kvm03", "Connected", "Secondary")}, "kvm02", ""},
		"one more":           {[]drbdtools.Peer{seen("kvm02", "Connected", "Secondary"), seen("kvm03", "Connected", "Primary")}, "", "kvm03"},
		"one more, lost":     {[]drbdtools.Peer{seen("kvm02", "Connected", "Secondary"), seen("kvm03", "Connecting", "Unknown")}, "kvm03", ""},
		"lost, once Primary": {[]drbdtools.Peer{seen("kvm02", "Connecting", "Primary")}, "kvm02", ""},
	} {
		b := &backend{node: "kvm01"}
		all, err := b.peersOf(drbdtools.Resource{Name: "r0", Hosts: []string{"kvm01", "kvm02"}}, drbdtools.State{Resource: "r0", Peers: c.kernel})
		if err != nil {
			t.Fatal(err)
		}
		silent, primary := "", ""
		for _, p := range all {
			if p.silent(record{}) {
				silent += p.name
			}
		}
		for _, h := range primaries(all) {
			primary += h.Host.Name
		}
		if silent != c.silent || primary != c.primary {
			t.Errorf("%s: silent %q, primary %q", name, silent, primary)
		}
	}
}

// TestArrivalBesideTwo: a guest comes from one host. A third that has the volume
// is somebody else.
func TestArrivalBesideTwo(t *testing.T) {
	c, err := drbdsim.New(t.TempDir(), os.Args[0], "kvm01", "kvm02", "kvm03")
	if err := errors.Join(err, c.Add("r0", 3, size, "kvm01", "kvm02", "kvm03")); err != nil {
		t.Fatal(err)
	}
	p := &pair{T: t, Cluster: c, ctx: t.Context()}
	p.a, p.b = p.open("kvm01"), p.open("kvm02")
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	p.must(p.grant(p.b, hostB, web, pool.Handover))
	third, hostC := p.open("kvm03"), pool.Host{Name: "kvm03", ID: "id-c"}
	err = p.grant(third, hostC, web, pool.Handover)
	var held *pool.HeldError
	if !errors.As(err, &held) || len(held.Holders) != 2 {
		t.Errorf("a third host: %v", err)
	}
	p.must(p.revoke(p.a, hostA))
	p.must(p.grant(third, hostC, web, pool.Handover))
}

// TestShareThatDied: a host that died after it allowed two primaries, and before
// it became one, forbids them again: the other host does not share the volume.
func TestShareThatDied(t *testing.T) {
	p := newPair(t)
	p.must(p.grant(p.b, hostB, web, pool.Exclusive))
	p.must(p.a.tools.AllowTwoPrimaries(t.Context(), "r0"))
	unlock, err := p.a.lock(t.Context(), "r0") // makes the folder
	p.must(err)
	p.must(unlock())
	p.must(p.a.write(record{Format: format, Volume: "r0"}.with(request(hostA, db, pool.Multi), p.a.now())))
	p.must(p.revoke(p.a, hostA))
	p.is("Secondary/Primary")
}
