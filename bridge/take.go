package bridge

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// take attaches all disks, then calls finish, then records the result. After
// an error every disk that this call newly took is given back, and those that
// the domain had before are as they were.
func (b *Bridge) take(ctx context.Context, jobs []*job, finish func() error) error {
	err := b.takeAll(ctx, jobs, finish)
	if err == nil {
		return nil
	}
	return errors.Join(err, b.undo(ctx, jobs))
}

func (b *Bridge) takeAll(ctx context.Context, jobs []*job, finish func() error) error {
	if len(jobs) == 0 {
		return finish()
	}
	if err := b.Hints.Mark(jobs[0].owner.UUID); err != nil {
		return fmt.Errorf("mark domain %s: %w", jobs[0].owner.Name, err)
	}
	if err := b.claim(ctx, jobs); err != nil {
		return err
	}
	err := each(len(jobs), b.parallel(), func(i int) error {
		return diskError(jobs[i].disk, jobs[i].owner.Name, b.attach(ctx, jobs[i]))
	})
	if err != nil {
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	return b.settle(ctx, jobs)
}

// kept says whether a record means that the domain had the disk before: then a
// failure must not take it away.
func (b *Bridge) kept(a *state.Attachment) bool {
	return a != nil && a.BootID == b.BootID && (a.Phase == state.Held || a.Phase == state.Pending)
}

// record is the attachment of the job in a phase. A record that was there names
// the boot of the grant until a new one is sure.
func (j *job) record(phase state.Phase) state.Attachment {
	a := state.Attachment{
		DomainUUID: j.owner.UUID, DomainName: j.owner.Name, Target: j.disk.Target,
		Pool: j.disk.Pool, Volume: j.disk.Volume, Mode: string(j.mode), Phase: phase,
	}
	if j.prior != nil {
		a.BootID = j.prior.BootID
	}
	if phase != state.Attaching {
		a.Path, a.Arrival = j.conn.Path, j.arrival
	}
	return a
}

// attach makes the volume reachable and its device appear, under the volume's
// lock.
func (b *Bridge) attach(ctx context.Context, j *job) (err error) {
	unlock, err := b.Locks.Volume(ctx, j.disk.Pool, j.disk.Volume)
	if err != nil {
		return fmt.Errorf("lock volume %s/%s: %w", j.disk.Pool, j.disk.Volume, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := b.grant(ctx, j); err != nil {
		return err
	}
	if j.prior != nil && b.fromBefore(*j.prior) {
		// Only now, for until then the old boot id said which grant is ours.
		if err := b.Store.Update(ctx, j.record(state.Attaching)); err != nil {
			return err
		}
	}
	transport, err := b.Devices.For(j.conn.Protocol)
	if err != nil {
		return err
	}
	ctx, cancel := b.deviceContext(ctx)
	defer cancel()
	device, err := transport.Attach(ctx, j.conn)
	if err != nil {
		return err
	}
	return j.verified(device.Path, device.SizeBytes)
}

// verified looks at what the transport hands over before the guest does.
func (j *job) verified(path string, sizeBytes int64) error {
	if path != j.conn.Path {
		return fmt.Errorf("volume %s/%s was attached as %s instead of %s", j.disk.Pool, j.disk.Volume, path, j.conn.Path)
	}
	j.conn.SizeBytes = sizeBytes
	return j.disk.fits(sizeBytes)
}

// grant asks the pool. The pool judges the other hosts anew by the mode of each
// request: a grant of this host that is left over from a migration does not
// let the domain start beside itself.
func (b *Bridge) grant(ctx context.Context, j *job) error {
	j.granted = true
	path := j.conn.Path
	conn, err := j.backend.Grant(ctx, b.request(j))
	var held *pool.HeldError
	if errors.As(err, &held) {
		j.granted, j.refused = false, held.Holders
		return err
	}
	if err != nil {
		return err
	}
	if j.conn = conn; conn.Path != path {
		return fmt.Errorf("the path of volume %s/%s changed from %s to %s: repeat the command", j.disk.Pool, j.disk.Volume, path, conn.Path)
	}
	return nil
}

// request is what the pool is asked for the job. The boot that this host's own
// record names tells its grant from before a reboot from one of a clone.
func (b *Bridge) request(j *job) pool.GrantRequest {
	r := pool.GrantRequest{Volume: j.disk.Volume, Host: b.Host, BootID: b.BootID, Owner: j.owner, Mode: j.mode}
	if j.prior != nil {
		r.PriorBootID = j.prior.BootID
	}
	return r
}
