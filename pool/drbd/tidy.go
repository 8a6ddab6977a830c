package drbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/internal/bounded"
)

// Tidy implements pool.Tidier. It forbids two primaries where nothing needs
// them any more: after the host that a guest was arriving at died, the host
// that the guest still runs on keeps them allowed. That must end before the
// other is back, for DRBD refuses to connect two hosts that do not agree.
func (b *backend) Tidy(ctx context.Context, dryRun bool) ([]string, error) {
	done, err := bounded.Do(ctx, func(ctx context.Context) ([]string, error) { return b.tidy(ctx, dryRun) })
	if err != nil {
		err = fmt.Errorf("tidy pool %s: %w", b.name, err)
	}
	return done, err
}

func (b *backend) tidy(ctx context.Context, dryRun bool) (done []string, err error) {
	all, err := b.resources(ctx)
	if err != nil {
		return nil, err
	}
	var wrong []error
	for _, r := range all {
		if suitable(r) != nil {
			continue
		}
		did, err := b.tidyOne(ctx, r, dryRun)
		if err != nil {
			wrong = append(wrong, err)
		}
		if did != "" && err == nil {
			done = append(done, did)
		}
	}
	return done, errors.Join(wrong...)
}

func (b *backend) tidyOne(ctx context.Context, r drbdtools.Resource, dryRun bool) (did string, err error) {
	something, err := b.untidy(ctx, r.Name)
	if err != nil || !something {
		return "", err
	}
	release, err := b.lock(ctx, r.Name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	v, err := b.look(ctx, r)
	if err == nil && !dryRun {
		err = b.write(b.renewed(v))
	}
	if err != nil {
		return "", err
	}
	if !v.two || v.needed() {
		return "", nil
	}
	did = fmt.Sprintf("volume %s/%s: two primaries are allowed, and nothing needs them any more", b.name, r.Name)
	if dryRun {
		return did, nil
	}
	_, err = b.forbid(ctx, r)
	return did, err
}

// untidy is a first look, without the lock, of which most resources need no more.
func (b *backend) untidy(ctx context.Context, name string) (bool, error) {
	s, err := b.tools.State(ctx, name)
	if _, up := s.Device(volumeNumber); err != nil || !up {
		return false, err
	}
	on, err := b.tools.TwoPrimariesAllowed(ctx, s)
	if err != nil {
		return false, err
	}
	rec, err := b.read(name)
	return on || len(rec.Gone) > 0, err
}

// needed: two have the volume, or may share it. A guest that is about to arrive
// at a peer which is not Primary yet is refused by the kernel then, and runs on
// here.
func (v view) needed() bool {
	n := len(primaries(v.peers))
	if v.state.Role == drbdtools.Primary {
		n++
	}
	return n > 1 || v.rec.multi() || n == 1 && len(v.rec.Grants) == 0
}
