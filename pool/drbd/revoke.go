package drbd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/pool"
)

// revoke demotes this host, forbids two primaries again, and forgets.
func (b *backend) revoke(ctx context.Context, q pool.RevokeRequest) (err error) {
	if err := q.Validate(); err != nil {
		return err
	}
	release, err := b.lock(ctx, q.Volume)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if strings.HasPrefix(q.Host.ID, peerID) {
		return b.revokePeer(ctx, q)
	}
	rec, err := b.read(q.Volume)
	if err != nil {
		return err
	}
	mine := 0
	for _, g := range rec.Grants {
		if g.Host.ID != q.Host.ID {
			continue
		}
		mine++
		if !q.Covers(g.BootID) {
			return fmt.Errorf("%w: host %s, boot %s", pool.ErrOtherBoot, g.Host.Name, g.BootID)
		}
	}
	next := b.stillGone(ctx, rec).without(q.Host.ID)
	if mine > 0 && len(next.Grants) == 0 {
		if err := b.leave(ctx, rec); err != nil {
			return err
		}
	}
	return b.write(next)
}

// leave demotes this host. A resource that is not up, or not configured any
// more, has no role.
func (b *backend) leave(ctx context.Context, rec record) error {
	s, err := b.tools.State(ctx, rec.Volume)
	if err != nil {
		return err
	}
	if _, up := s.Device(volumeNumber); !up {
		return nil
	}
	r, err := b.configured(ctx, rec.Volume)
	if err != nil {
		return err
	}
	if s.Role == drbdtools.Primary {
		if err := b.demote(ctx, rec.Volume); err != nil {
			return err
		}
	}
	peers, err := b.peersOf(r, s)
	if err != nil {
		return err
	}
	if s.Role == drbdtools.Primary && len(primaries(peers)) > 0 && !rec.multi() && !r.TwoPrimaries {
		// Both were Primary, so two are allowed, and for this guest alone. That is
		// not asked for first: two may write for as long.
		return b.forbidLeft(ctx, r)
	}
	v, err := b.look(ctx, r)
	if err == nil {
		err = demoted(v)
	}
	if err != nil || !v.two || r.TwoPrimaries {
		return err
	}
	if rec.multi() && s.Role == drbdtools.Primary && len(primaries(v.peers)) > 0 {
		// The peer shares the volume, and may have to let others in. A host that
		// was not promoted may have allowed two beside one that does not share.
		return nil
	}
	return b.forbidLeft(ctx, r)
}

// forbidLeft forbids two primaries of what this host has left.
func (b *backend) forbidLeft(ctx context.Context, r drbdtools.Resource) error {
	v, err := b.forbid(ctx, r)
	if err == nil {
		return demoted(v)
	}
	if !drbdtools.Answered(err, drbdtools.BothPrimary) {
		return err
	}
	v, failed := b.look(ctx, r)
	if failed == nil && len(primaries(v.peers)) > 1 {
		return nil // two others have it, and the next of them that leaves does this
	}
	return errors.Join(err, failed)
}

// demoted fails where the kernel does not say what drbdadm did.
func demoted(v view) error {
	if v.state.Role == drbdtools.Primary {
		return fmt.Errorf("drbdadm secondary %s succeeded, but the kernel says that this host is still Primary", v.res.Name)
	}
	return nil
}

// forbid forbids two primaries, and asks the kernel whether it did.
func (b *backend) forbid(ctx context.Context, r drbdtools.Resource) (view, error) {
	if err := b.tools.ForbidTwoPrimaries(ctx, r.Name, r.Protocol); err != nil {
		return view{}, err
	}
	v, err := b.look(ctx, r)
	if err == nil && v.two {
		err = fmt.Errorf("drbdadm net-options --allow-two-primaries=no %s succeeded, but the kernel still allows two", r.Name)
	}
	return v, err
}

func (b *backend) demote(ctx context.Context, name string) error {
	err := b.tools.Secondary(ctx, name)
	if drbdtools.Answered(err, drbdtools.InUse) {
		return fmt.Errorf("something on this host still has DRBD resource %s open: %w; find it with \"fuser -v %s\", and stop it",
			name, err, "/dev/drbd/by-res/"+name+"/0")
	}
	return err
}
