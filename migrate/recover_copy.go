package migrate

import (
	"context"
	"fmt"

	"github.com/volbridge/volbridge/image/deploy"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// Copies are the copies of images that did not end.
type Copies interface {
	Copies(ctx context.Context) ([]state.Copy, error)
	EndCopy(ctx context.Context, ownerUUID string) error
}

// copyList is what the records say; a copy's owner is no domain, so libvirt
// cannot say whether it lives.
type copyList []state.Copy

func (l copyList) own(ownerUUID string) bool {
	for _, c := range l {
		if c.OwnerUUID == ownerUUID {
			return true
		}
	}
	return false
}

func (r *Recoverer) copies(ctx context.Context) (copyList, error) {
	if r.Copies == nil {
		return nil, nil
	}
	return r.Copies.Copies(ctx)
}

// lookOwner is look for an owner that may be a copy's command whose record is
// gone: its lock says whether it lives. The name proves nothing, for a domain
// may have it too, so that without a lock libvirt is asked.
func (r *Recoverer) lookOwner(ctx context.Context, o pool.Owner) (sight, error) {
	if o.Name == deploy.OwnerName {
		release, held, err := r.Claim(o.UUID)
		if err != nil {
			return sight{}, err
		}
		if held {
			return sight{w: Whereabouts{Active: true, State: "its command still runs"}}, nil
		}
		if err := release(); err != nil {
			return sight{}, err
		}
	}
	return look(ctx, r.Local, r.LocalErr, o.UUID), nil
}

func (r *Recoverer) endCopies(ctx context.Context, copies copyList) (out []Finding) {
	for _, c := range copies {
		out = append(out, r.endCopy(ctx, c))
	}
	return out
}

// endCopy takes back a copy whose command is gone, under the lock that it would
// hold if it lived.
func (r *Recoverer) endCopy(ctx context.Context, c state.Copy) Finding {
	ctx, cancel := r.limited(ctx)
	defer cancel()
	f := Finding{
		Kind: "copy", Subject: fmt.Sprintf("image %s into volume %s/%s", c.Image, c.Pool, c.Volume),
		Action: "none", Outcome: Unfinished,
	}
	release, held, err := r.Claim(c.OwnerUUID)
	switch {
	case err != nil:
		f.Seen, f.Error = "whether its command still runs is not known", err.Error()
		return f
	case held:
		f.Seen, f.Outcome = "its command still runs", Kept
		return f
	}
	// The lock ends with the process too.
	defer func() { _ = release() }()
	f.Seen, f.Action = judgeCopy(c)
	return r.do(f, func() error { return r.takeBackCopy(ctx, c) })
}

// judgeCopy says what a dead copy has left, and what is to be done.
func judgeCopy(c state.Copy) (seen, action string) {
	const back = "detach the device and return the grant"
	switch {
	case c.CreationID != "":
		return "its command died, and the volume was made for it", back + ", and delete the volume"
	case c.Writing:
		return "its command died while it overwrote the volume: nothing can start from that until an import into it succeeds", back
	}
	return "its command died before it wrote anything", back
}

// takeBackCopy may be repeated: the record goes last.
func (r *Recoverer) takeBackCopy(ctx context.Context, c state.Copy) error {
	records, err := r.Store.Domain(ctx, c.OwnerUUID)
	if err != nil {
		return err
	}
	for _, a := range records {
		if err := r.releaseUnchanged(ctx, a); err != nil {
			return err
		}
	}
	if c.CreationID != "" {
		if err := r.deleteCopied(ctx, c); err != nil {
			return err
		}
	}
	return r.Copies.EndCopy(ctx, c.OwnerUUID)
}

func (r *Recoverer) deleteCopied(ctx context.Context, c state.Copy) error {
	b, err := r.Pools(c.Pool)
	if err != nil {
		return err
	}
	p, ok := b.(pool.Provisioner)
	if !ok {
		return fmt.Errorf("pool %s cannot delete volumes: delete %[1]s/%[2]s where the storage is managed, then run \"volbridge recover\"", c.Pool, c.Volume)
	}
	return deploy.Delete(ctx, p, c.Volume, c.CreationID)
}
