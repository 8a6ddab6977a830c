package bridge

import (
	"context"
	"errors"
	"slices"

	"github.com/volbridge/volbridge/internal/state"
)

// Store keeps what this host did; see state.Store.
type Store interface {
	Claim(ctx context.Context, a state.Attachment) (existing state.Attachment, had bool, err error)
	Update(ctx context.Context, a state.Attachment) error
	Forget(ctx context.Context, k state.Key) error
	Domain(ctx context.Context, uuid string) ([]state.Attachment, error)
	Volume(ctx context.Context, pool, volume string) ([]state.Attachment, error)
}

// BatchStore is a Store that does all disks of a domain in one transaction,
// all or nothing. Each transaction is written through to the disk, which costs
// more than attaching a device does.
type BatchStore interface {
	ClaimAll(ctx context.Context, list []state.Attachment) error
	UpdateAll(ctx context.Context, list []state.Attachment) error
}

// claim records the intent for all disks. A record of this boot that says the
// domain has the disk stays as it is until the end, so that a failure finds it
// unchanged.
func (b *Bridge) claim(ctx context.Context, jobs []*job) error {
	if err := b.claimAll(ctx, jobs); err != nil {
		return err
	}
	var again []*job
	for _, j := range jobs {
		if j.prior != nil && !b.kept(j.prior) {
			again = append(again, j)
		}
	}
	return b.update(ctx, again, func(j *job) state.Attachment { return j.record(state.Attaching) })
}

func (b *Bridge) claimAll(ctx context.Context, jobs []*job) error {
	batch, ok := b.Store.(BatchStore)
	if !ok {
		for _, j := range jobs {
			_, _, err := b.Store.Claim(ctx, j.record(state.Attaching))
			// After any other error the record may be there.
			j.claimed = !errors.Is(err, state.ErrVolumeBusy)
			if err != nil {
				return diskError(j.disk, j.owner.Name, err)
			}
		}
		return nil
	}
	list := make([]state.Attachment, len(jobs))
	for i, j := range jobs {
		list[i] = j.record(state.Attaching)
	}
	err := batch.ClaimAll(ctx, list)
	for _, j := range jobs {
		j.claimed = !errors.Is(err, state.ErrVolumeBusy)
	}
	var busy *state.BusyError
	if errors.As(err, &busy) {
		i := slices.IndexFunc(jobs, func(j *job) bool { return j.disk.Pool == busy.Pool && j.disk.Volume == busy.Volume })
		return diskError(jobs[max(i, 0)].disk, jobs[0].owner.Name, err)
	}
	return err
}

// update stores the records that of makes of the jobs.
func (b *Bridge) update(ctx context.Context, jobs []*job, of func(*job) state.Attachment) error {
	list := make([]state.Attachment, len(jobs))
	for i, j := range jobs {
		list[i] = of(j)
	}
	if batch, ok := b.Store.(BatchStore); ok && len(list) > 0 {
		return batch.UpdateAll(ctx, list)
	}
	for i, a := range list {
		if err := b.Store.Update(ctx, a); err != nil {
			return diskError(jobs[i].disk, a.DomainName, err)
		}
	}
	return nil
}
