package flasharray

import (
	"context"
	"slices"
)

// The array may carry out a request for a connection after its caller has given
// it up, and the claim has been returned: then a host reaches a volume, and no
// claim says so. Nobody may end that connection without being told, for an
// administrator may have made it. So who looks is warned; of volumes that
// volbridge did not make it is no business of its own.

// warnOfStrays looks for hosts that reach a volume without a claim. It costs a
// call only where the array counts more connections than there are claims.
func (b *backend) warnOfStrays(ctx context.Context, v volume, tags []arrayTag) {
	if b.place.hostGroup != "" || creationOf(tags) == "" || v.connections <= len(connectedBy(claimsIn(tags))) {
		return
	}
	list, err := b.array.connections(ctx, way{}, v)
	if err != nil {
		b.log.WithError(err).Warnf("which hosts are connected to volume %s/%s is not known", b.name, v.name)
		return
	}
	for _, c := range list {
		if c.Host.Name != "" && c.Group.Name == "" {
			b.warnOfStray(ctx, c.Host.Name, v.ID, v.ArrayName)
		}
	}
}

// warnOfOwnStrays looks for volumes that a host reaches without a claim, where
// that host has asked for volumes here; tags are all of its claims.
func (b *backend) warnOfOwnStrays(ctx context.Context, hostID string, tags []arrayTag) {
	host, ok := b.self(hostID)
	if !ok || b.place.hostGroup != "" {
		return
	}
	list, err := b.array.connections(ctx, way{host: host}, volume{})
	if err != nil {
		b.log.WithError(err).Warnf("to which volumes host %s of array %s is connected is not known", host, b.array.Array())
		return
	}
	for _, c := range list {
		claimed := func(t arrayTag) bool { return t.Resource != nil && t.Resource.Name == c.Volume.Name }
		_, ours := b.inPool(c.Volume.Name)
		if ours && c.Group.Name == "" && !slices.ContainsFunc(tags, claimed) {
			b.warnOfStray(ctx, host, c.Volume.ID, c.Volume.Name)
		}
	}
}

// warnOfStray looks once more: claims were read before the connection, and a
// grant may have begun between; the connection may have ended since.
func (b *backend) warnOfStray(ctx context.Context, host, id, arrayName string) {
	if id == "" {
		return
	}
	v := volume{ID: id, ArrayName: arrayName}
	tags, err := b.array.tags(ctx, id)
	if err == nil && (creationOf(tags) == "" || slices.Contains(connectedBy(claimsIn(tags)), host)) {
		return
	}
	var list []arrayConnection
	if err == nil {
		list, err = b.array.connections(ctx, way{host: host}, v)
	}
	if err != nil && !gone(err) {
		b.log.WithError(err).Warnf("host %s of array %s is connected to volume %s, and why is not known", host, b.array.Array(), arrayName)
		return
	}
	direct := func(c arrayConnection) bool { return c.Group.Name == "" }
	if slices.ContainsFunc(list, direct) {
		b.log.Warnf("host %s of array %s is connected to volume %s, and no grant says why; if nobody did that on purpose, %s",
			host, b.array.Array(), arrayName, disconnectHint(host, arrayName))
	}
}
