package flasharray

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// shortGrant is the age of a grant up to which its end may mean that something
// remembered was not true any more, and the device did not appear.
const shortGrant = time.Minute

func (b *backend) revoke(ctx context.Context, r pool.RevokeRequest) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if v, ok := b.seen.take(r.Volume, b.now()); ok {
		err := b.revokeOf(ctx, r, v)
		if !errors.Is(err, errStale) {
			return err
		}
		b.forget(v)
	}
	v, err := b.find(ctx, r.Volume)
	if err == nil {
		if err = b.revokeOf(ctx, r, v); errors.Is(err, errStale) {
			return nil // gone meanwhile
		}
		return err
	}
	if !errors.Is(err, pool.ErrNotFound) {
		return err
	}
	// Somebody's deletion may have ended halfway.
	leaving, err := b.leaving(ctx, r.Volume)
	for _, v := range leaving {
		if one := b.revokeOf(ctx, r, v); !errors.Is(one, errStale) {
			err = errors.Join(err, one)
		}
	}
	return err
}

// revokeOf ends the connection first and the claims then: a crash between
// leaves claims, never a connection that nobody returns.
func (b *backend) revokeOf(ctx context.Context, r pool.RevokeRequest, v volume) error {
	tags, err := b.array.tags(ctx, v.ID)
	if gone(err) {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	if err != nil {
		return err
	}
	if name := namedIn(tags); v.remembered && name != v.ArrayName {
		return fmt.Errorf("%w: it is called %q now", errStale, clip(name))
	}
	meant, stay, err := b.ledger(v).Split(r, claimsIn(tags))
	if err != nil {
		return err
	}
	if err := b.disconnect(ctx, r, v, meant, stay); err != nil {
		return err
	}
	if err := b.array.dropTags(ctx, v.ID, claims.Keys(meant)...); err != nil {
		return err
	}
	if b.foreign(r.Host) {
		if err := b.stillAsking(ctx, r, v); err != nil {
			return pool.Changed(err)
		}
	}
	b.doubt(r.Host, v, meant)
	return claims.OtherBoot(r, stay)
}

// disconnect ends the connections of the claims that are meant, unless one that
// stays needs it too, or it was or may have been there before volbridge.
func (b *backend) disconnect(ctx context.Context, r pool.RevokeRequest, v volume, meant, stay []claims.Claim) error {
	for _, host := range connectedBy(meant) {
		of := func(o claims.Claim) bool { return o.Place.Name == host }
		stays := func(o claims.Claim) bool { return of(o) && o.Place.Mark == kept }
		sure := func(o claims.Claim) bool { return of(o) && o.Place.Mark != unsure }
		var err error
		switch {
		case slices.ContainsFunc(stay, of) || slices.ContainsFunc(meant, stays):
		case !slices.ContainsFunc(meant, sure) || b.sawKept(r.Host, host, v):
			err = b.leaveUnsure(ctx, r, v, host, slices.Concat(meant, stay))
		default:
			err = b.disconnectHost(ctx, r, v, host, meant, stay)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sawKept says whether this host, whose claims are sure that the connection is
// their own, has seen otherwise: then it could not write it down.
func (b *backend) sawKept(h pool.Host, arrayHost string, v volume) bool {
	self, ok := b.self(h.ID)
	return ok && self == arrayHost && b.known(keptKey(v))
}

func (b *backend) disconnectHost(ctx context.Context, r pool.RevokeRequest, v volume, host string, meant, stay []claims.Claim) error {
	missing, err := b.array.disconnect(ctx, way{host: host}, v)
	if err == nil && missing {
		if err = b.notAsking(r.Host, v, meant); err == nil {
			err = b.disconnectRenamed(ctx, r.Host, host, v, slices.Concat(meant, stay))
		}
	}
	if self, ok := b.self(r.Host.ID); err == nil && ok && self == host {
		b.note(freeKey(v))
	}
	return err
}

// leaveUnsure says which connection stays because it may be somebody else's. Where
// there is none, a host that another one fences may have another name by now.
func (b *backend) leaveUnsure(ctx context.Context, r pool.RevokeRequest, v volume, host string, all []claims.Claim) error {
	list, err := b.array.connections(ctx, way{host: host}, v)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		if _, _, unknown := b.place.transport.initiator(r.Host); unknown != nil {
			return b.noStranger(ctx, r.Host, host, v, all)
		}
		return nil
	}
	b.note(keptKey(v))
	b.log.Warnf("host %s of array %s stays connected to volume %s: a grant ended in the middle, and whether somebody else made the connection before is not known; "+
		"if nobody did, %s", host, b.array.Array(), v.ArrayName, disconnectHint(host, v.ArrayName))
	return nil
}

// doubt forgets what was remembered where a grant ends soon after it began: the
// device may have not appeared because it was not true any more. What this call
// has just asked the array for is.
func (b *backend) doubt(h pool.Host, v volume, ended []claims.Claim) {
	short := func(c claims.Claim) bool { return b.now().Sub(c.Holder.Since) < shortGrant }
	if !slices.ContainsFunc(ended, short) {
		return
	}
	if v.remembered {
		b.forget(v)
	}
	b.forgetHost(h)
	b.forgetKey(targetKey)
	if b.place.hostGroup != "" {
		b.forgetKey(groupKey(v, b.place.hostGroup))
	}
}
