package flasharray

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// A claim names the host as the array called it then. An administrator may have
// given the host another name since: its connection stays, and the array says of
// the old name that there is none.

// disconnectRenamed: there is no such connection, perhaps because the host has
// another name on the array now.
func (b *backend) disconnectRenamed(ctx context.Context, h pool.Host, was string, v volume, all []claims.Claim) error {
	b.forgetHost(h)
	field, initiator, err := b.place.transport.initiator(h)
	if err != nil {
		return b.noStranger(ctx, h, was, v, all) // a host that another one fences
	}
	now, err := b.hostOf(ctx, field, initiator)
	if gone(err) || err == nil && now.Name == was {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = b.array.disconnect(ctx, way{host: now.Name}, v)
	return err
}

// noStranger refuses where the host is not known by what to find it, and the
// volume has a connection that nothing explains: it may be this host's, and who
// believes that its access has ended starts the guest beside it. It may also be an
// administrator's, for a purpose of his own. Nothing here can tell the two apart,
// so volbridge ends neither, and a person has to. all are the claims that were
// there.
func (b *backend) noStranger(ctx context.Context, h pool.Host, was string, v volume, all []claims.Claim) error {
	list, err := b.array.connections(ctx, way{}, v)
	if err != nil || len(strangers(list, all, was)) == 0 {
		return err
	}
	// Others may have asked for the volume since; their claims come first.
	tags, err := b.array.tags(ctx, v.ID)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	all = claimsIn(tags)
	if names := strangers(list, all, was); len(names) > 0 {
		return b.stranger(h, was, v, names, unconnectedHolders(list, all, h))
	}
	return nil
}

// strangers are the hosts that a volume is connected to without a claim that says
// so. What a host has through a host group an administrator gave it.
func strangers(list []arrayConnection, all []claims.Claim, was string) (names []string) {
	explained := connectedBy(all)
	for _, c := range list {
		name := c.Host.Name
		same := func(known string) bool { return known != was && strings.EqualFold(known, name) }
		if name != "" && c.Group.Name == "" && !slices.ContainsFunc(explained, same) {
			names = append(names, name)
		}
	}
	return names
}

// unconnectedHolders are other hosts that hold the volume, and that the array does
// not call any more what it called them.
func unconnectedHolders(list []arrayConnection, all []claims.Claim, h pool.Host) (names []string) {
	for _, k := range all {
		connected := func(c arrayConnection) bool { return strings.EqualFold(c.Host.Name, k.Place.Name) }
		if k.Place.Name != "" && !k.OfHost(h.ID) && !slices.ContainsFunc(list, connected) {
			names = append(names, k.Holder.Host.Name)
		}
	}
	return names
}

func (b *backend) stranger(h pool.Host, was string, v volume, names, holders []string) error {
	var hints []string
	for i, name := range names {
		names[i] = clip(name)
		hints = append(hints, disconnectHint(names[i], v.ArrayName))
	}
	whose := ""
	if len(holders) > 0 {
		whose = fmt.Sprintf(" (first see to it that this is not what host %s holds the volume by)", strings.Join(holders, ", "))
	}
	return fmt.Errorf("volume %s/%s is not connected to host %s of array %s, but still to host %s, and no grant says why: that may be host %s under another name; "+
		"nothing was changed; see by its NQN ('purehost list') that it is no other host with a running guest, then %s%s, and repeat this; a host that was connected for another purpose can be connected again then",
		b.name, v.name, was, b.array.Array(), strings.Join(names, ", "), h.Name, strings.Join(hints, ", "), whose)
}
