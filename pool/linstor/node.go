package linstor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/LINBIT/golinstor/client"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

// node is LINSTOR's name of a host.
func (b *backend) node(h pool.Host) string { return cmp.Or(b.settings.Node, h.Name) }

// deployment is where a volume is.
type deployment struct {
	nodes []nodeState
	bytes int64 // of the device, 0 if no node has said it
}

// nodeState is a volume on one node.
type nodeState struct {
	name string
	// diskless: the node has no replica. tieBreaker: it is there for the vote
	// alone, and goes when LINSTOR likes.
	diskless, tieBreaker bool
	inUse                bool
	kind                 client.ProviderKind // of the replica's storage
}

// deployed asks on which nodes the volume is.
func (b *backend) deployed(ctx context.Context, v volume) (deployment, error) {
	list, err := b.linstor.Resources(ctx, v.resource())
	if err != nil {
		return deployment{}, err
	}
	var at deployment
	for _, r := range list {
		at.add(r)
	}
	return at, nil
}

// add reads one resource. One that is on its way out does not count.
func (at *deployment) add(r rest.Resource) {
	if slices.Contains(r.Flags, deleting) || slices.Contains(r.Flags, "DRBD_DELETE") {
		return
	}
	n := nodeState{name: r.NodeName, tieBreaker: slices.Contains(r.Flags, "TIE_BREAKER")}
	n.diskless = n.tieBreaker || slices.Contains(r.Flags, "DRBD_DISKLESS") || slices.Contains(r.Flags, "DISKLESS")
	n.inUse = r.State != nil && r.State.InUse != nil && *r.State.InUse
	for _, volume := range r.Volumes {
		if volume.VolumeNumber == 0 {
			n.kind = volume.ProviderKind
			at.bytes = max(at.bytes, volume.UsableSizeKib*1024)
		}
	}
	at.nodes = append(at.nodes, n)
}

// on finds the node; names of nodes are not told apart by case.
func (at deployment) on(name string) (nodeState, bool) {
	i := slices.IndexFunc(at.nodes, func(n nodeState) bool { return strings.EqualFold(n.name, name) })
	if i < 0 {
		return nodeState{}, false
	}
	return at.nodes[i], true
}

// removable says whether the resource on a node may be deleted when its last
// grant there ends: never a replica, and never a vote.
func (at deployment) removable(name string) bool {
	n, there := at.on(name)
	return there && n.diskless && !n.tieBreaker
}

// made marks the place of a claim for which the volume was made available there,
// to be unmade with it. It is written before that is done.
const made = claims.Plus

// place says how a host on that node would hold the volume: what is not there
// yet is made for it. A tie-breaker becomes a client, and LINSTOR makes another
// when that goes. What a claim has made stays made.
func (b *backend) place(at deployment, has []claims.Claim, node string) claims.Place {
	p := claims.Place{Name: node}
	n, there := at.on(node)
	switch {
	case !there || n.tieBreaker:
		if !b.settings.Diskful {
			p.Mark = made
		}
	case n.diskless:
		if slices.ContainsFunc(has, func(c claims.Claim) bool { return strings.EqualFold(c.Place.Name, node) && c.Place.Mark == made }) {
			p.Mark = made
		}
	}
	return p
}

// strangers are nodes on which somebody uses the volume whom no claim names:
// people who promoted it by hand, or another program. The node in question, ""
// for none, is not among them.
func (b *backend) strangers(at deployment, has []claims.Claim, but string) (found []pool.Holder) {
	for _, n := range at.nodes {
		claimed := slices.ContainsFunc(has, func(c claims.Claim) bool { return strings.EqualFold(c.Place.Name, n.name) })
		if n.inUse && !claimed && !strings.EqualFold(n.name, but) {
			found = append(found, pool.Holder{
				Host:  pool.Host{Name: n.name, ID: "linstor-node:" + n.name},
				Owner: pool.Owner{Name: "unknown"}, Mode: pool.Exclusive, Since: b.now(),
			})
		}
	}
	return found
}

// usedByHand explains a *pool.HeldError because of strangers.
func usedByHand(held *pool.HeldError) error {
	return fmt.Errorf("node %s uses the volume without volbridge: find out by what (`drbdadm status`, `lsof`), and end it there: %w",
		held.Holders[0].Host.Name, held)
}
