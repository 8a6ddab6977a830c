package drbd

import (
	"context"
	"fmt"
	"slices"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/pool"
)

// peer is another host of a resource, as far as DRBD shows it.
type peer struct {
	name      string
	connected bool
	primary   bool
	// outdated: its disk is known to be older than this host's, and DRBD there
	// knows it too and does not become Primary.
	outdated bool
	state    string // for people
}

// peersOf names the peers as the configuration does: DRBD 8.4 does not know
// their names, but then there is only one.
func (b *backend) peersOf(r drbdtools.Resource, s drbdtools.State) ([]peer, error) {
	names, err := b.peers(r)
	if err != nil {
		return nil, err
	}
	var all []peer
	for _, name := range names {
		p := peer{name: name, state: "not configured in the kernel: drbdadm adjust " + r.Name}
		for _, seen := range s.Peers {
			if seen.Name == name || nameless(seen) && len(names) == 1 && len(s.Peers) == 1 {
				p = peerOf(name, seen)
			}
		}
		all = append(all, p)
	}
	return append(all, unconfigured(names, s)...), nil
}

func peerOf(name string, seen drbdtools.Peer) peer {
	disk := seen.Disks[volumeNumber].Disk
	return peer{
		name: name, connected: seen.Connection == drbdtools.Connected, primary: seen.Role == drbdtools.Primary,
		outdated: disk == "Outdated" || disk == "Inconsistent", state: fmt.Sprintf("%s, its disk %s", seen.Connection, disk),
	}
}

// nameless says whether the kernel does not know what the peer is called.
func nameless(p drbdtools.Peer) bool { return p.Name == "" || p.Name == "peer" }

// unconfigured are peers that the kernel has and the configuration has not: it
// was changed, and nobody has told the kernel. They may use the volume as before.
func unconfigured(names []string, s drbdtools.State) (all []peer) {
	for _, seen := range s.Peers {
		if !nameless(seen) && !slices.Contains(names, seen.Name) {
			p := peerOf(seen.Name, seen)
			p.state += ", not in the configuration: drbdadm adjust " + s.Resource
			all = append(all, p)
		}
	}
	return all
}

// peerID is the id of a host of which DRBD knows nothing but the name.
const peerID = "drbd-peer:"

// peerBoot is the boot of such a host.
const peerBoot = "unknown"

// unknownOwner is for whom such a host holds a volume.
const unknownOwner = "unknown to DRBD"

func (p peer) holder() pool.Holder {
	return pool.Holder{
		Host: pool.Host{Name: p.name, ID: peerID + p.name}, BootID: peerBoot, Owner: pool.Owner{Name: unknownOwner}, Mode: pool.Exclusive,
	}
}

// silent says whether nobody knows what the peer does.
func (p peer) silent(rec record) bool {
	return !p.connected && !p.outdated && !slices.Contains(rec.Gone, p.name)
}

// primaries are the peers that can be seen to hold the resource.
func primaries(all []peer) (found []pool.Holder) {
	for _, p := range all {
		if p.connected && p.primary {
			found = append(found, p.holder())
		}
	}
	return found
}

func (b *backend) holders(ctx context.Context, r drbdtools.Resource) ([]pool.Holder, error) {
	v, err := b.look(ctx, r)
	if err != nil {
		return nil, err
	}
	found := append(v.rec.holders(), primaries(v.peers)...)
	for _, p := range v.peers {
		if p.silent(v.rec) {
			h := p.holder()
			h.Owner.Name = "unknown: the host is not connected"
			found = append(found, h)
		}
	}
	pool.SortHolders(found)
	return found, nil
}

// silentError refuses a grant while a peer may have the volume unseen.
func (b *backend) silentError(name string, p peer) error {
	return fmt.Errorf("host %s is not connected (%s), so that nobody knows whether it uses DRBD resource %s: bring it back (drbdadm status %s); "+
		"if it is certainly dead, see `volbridge volume revoke %s/%s --host %s --help`", p.name, p.state, name, name, b.name, name, p.name)
}
