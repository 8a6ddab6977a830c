package bridge

import (
	"context"
	"errors"
	"slices"

	"github.com/volbridge/volbridge/internal/state"
)

// Store keeps what this host did; see state.Store. Each call is one
// transaction. Waiting for the disk costs more than attaching a device does: so
// all disks of a domain are recorded together, and only what must survive a
// power cut is waited for. That is what claims: it is there before anything
// that it would undo. What became of a claim is seen by every process at once,
// and the power cut that could undo it ends the boot that it counted in.
type Store interface {
	Claim(ctx context.Context, a state.Attachment) (existing state.Attachment, had bool, err error)
	ClaimAll(ctx context.Context, list []state.Attachment) error
	Update(ctx context.Context, a state.Attachment) error
	UpdateAll(ctx context.Context, list []state.Attachment) error
	// UpdateSoon is UpdateAll, and a power cut may undo it; so may Forget be.
	UpdateSoon(ctx context.Context, list []state.Attachment) error
	Forget(ctx context.Context, k state.Key) error
	Domain(ctx context.Context, uuid string) ([]state.Attachment, error)
	Volume(ctx context.Context, pool, volume string) ([]state.Attachment, error)
	// Path returns those with this device path, of whatever pool.
	Path(ctx context.Context, path string) ([]state.Attachment, error)
}

// claim records the intent for all disks. A record of this boot that says the
// domain has the disk stays as it is until the end, so that a failure finds it
// unchanged; one from before the last boot until the pool has granted anew.
func (b *Bridge) claim(ctx context.Context, jobs []*job) error {
	list := make([]state.Attachment, len(jobs))
	var again []state.Attachment
	for i, j := range jobs {
		list[i] = j.record(state.Attaching)
		if j.prior != nil && !b.kept(j.prior) && !b.fromBefore(*j.prior) {
			again = append(again, list[i])
		}
	}
	err := b.Store.ClaimAll(ctx, list)
	for _, j := range jobs {
		// After any other error the record may be there.
		j.claimed = !errors.Is(err, state.ErrVolumeBusy)
	}
	if err != nil {
		return busyDisk(jobs, err)
	}
	if len(again) == 0 {
		return nil
	}
	return b.Store.UpdateAll(ctx, again)
}

// busyDisk says which disk's volume another domain has.
func busyDisk(jobs []*job, err error) error {
	var busy *state.BusyError
	if !errors.As(err, &busy) {
		return err
	}
	i := slices.IndexFunc(jobs, func(j *job) bool { return j.disk.Pool == busy.Pool && j.disk.Volume == busy.Volume })
	if i < 0 {
		return err
	}
	return diskError(jobs[i].disk, jobs[i].owner.Name, err)
}

// settle records what the disks have become. After a power cut that undid it
// they are still claimed, and recovery gives them back like those that are held.
func (b *Bridge) settle(ctx context.Context, jobs []*job) error {
	list := make([]state.Attachment, len(jobs))
	for i, j := range jobs {
		list[i] = j.record(j.phase)
		j.recorded = true
	}
	return b.Store.UpdateSoon(ctx, list)
}
