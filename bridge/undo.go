package bridge

import (
	"context"
	"errors"

	"github.com/volbridge/volbridge/internal/state"
)

// undo brings every claimed disk of a failed call back to what it was, with
// time of its own, past failures.
func (b *Bridge) undo(ctx context.Context, jobs []*job) error {
	ctx, cancel := b.undoContext(ctx)
	defer cancel()
	err := each(len(jobs), b.parallel(), func(i int) error {
		j := jobs[len(jobs)-1-i]
		if !j.claimed {
			return nil
		}
		return left(diskError(j.disk, j.owner.Name, b.undoDisk(ctx, j)))
	})
	if len(jobs) == 0 {
		return err
	}
	return errors.Join(err, b.unmark(ctx, jobs[0].owner.UUID))
}

func (b *Bridge) undoDisk(ctx context.Context, j *job) error {
	a := j.record(state.Releasing)
	if j.prior != nil && !b.fromBefore(*j.prior) {
		if !j.denied {
			a.Stopped = j.prior.Stopped // it has not run since
		}
		if !j.sure {
			a.Mode = j.prior.Mode // and nobody has said that it may have more
		}
	}
	switch {
	case b.kept(j.prior) && !j.recorded:
		return nil
	case b.kept(j.prior):
		return b.Store.Update(ctx, *j.prior)
	case j.granted, j.prior != nil && !holds(j.refused, b.Host):
		return b.giveBack(ctx, a)
	case j.prior != nil:
		// This host holds the volume for another owner: the device may be
		// that one's. The record stays for recover to judge.
		return b.Store.Update(ctx, a)
	}
	return b.Store.Forget(ctx, a.Key())
}
