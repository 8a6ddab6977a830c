package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/volbridge/volbridge/blockdev"
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
	a.Path = j.conn.Path
	if phase != state.Attaching {
		a.Arrival, a.Device = j.arrival, wayRecord(j.conn)
	}
	return a
}

// attach makes the volume reachable and its device appear, under the volume's
// lock.
func (b *Bridge) attach(ctx context.Context, j *job) (err error) {
	unlock, err := b.lockVolume(ctx, j.disk.Pool, j.disk.Volume, j.conn.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := b.unshared(ctx, j); err != nil {
		return err
	}
	confirmed, err := b.confirm(ctx, j)
	if err == nil && !confirmed {
		err = b.grant(ctx, j)
	}
	if err != nil {
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
	began := time.Now()
	device, err := transport.Attach(ctx, j.conn)
	if b.Attached != nil {
		b.Attached(j.conn.Protocol, time.Since(began), err)
	}
	if errors.Is(err, blockdev.ErrWrongDevice) {
		device, err = b.attachResized(ctx, j, transport, err)
	}
	if err != nil {
		return err
	}
	if device.Warning != "" {
		b.log().Warn(diskError(j.disk, j.owner.Name, fmt.Errorf("volume %s/%s is attached, but %s", j.disk.Pool, j.disk.Volume, device.Warning)))
	}
	return j.verified(device.Path, device.SizeBytes)
}

// attachResized tries once more where the pool told a size that it remembered:
// a repeated grant is told anew. Another size is a reason to try, any other
// difference is not.
func (b *Bridge) attachResized(ctx context.Context, j *job, transport blockdev.Transport, wrong error) (blockdev.Device, error) {
	conn, err := j.backend.Grant(ctx, b.request(j))
	if err != nil {
		return blockdev.Device{}, errors.Join(wrong, err)
	}
	if conn.SizeBytes == j.conn.SizeBytes || conn.Path != j.conn.Path || conn.Identity != j.conn.Identity {
		return blockdev.Device{}, wrong
	}
	j.conn = conn
	return transport.Attach(ctx, conn)
}

// verified looks at what the transport hands over before the guest does.
func (j *job) verified(path string, sizeBytes int64) error {
	if path != j.conn.Path {
		return fmt.Errorf("volume %s/%s was attached as %s instead of %s", j.disk.Pool, j.disk.Volume, path, j.conn.Path)
	}
	j.conn.SizeBytes = sizeBytes
	return j.disk.fits(sizeBytes)
}

// confirm is for an arrival that `migrate` made ready in this boot: the grant is
// there, unless somebody took it away since. On this host that is recovery, which
// takes the domain's lock and changes the record first, and then nothing is to be
// confirmed. From elsewhere it is an administrator, who fences the host or ends the
// connection: then the pool does not confirm, or the device is not there, and the
// grant is asked for like any other.
func (b *Bridge) confirm(ctx context.Context, j *job) (bool, error) {
	pending, ok := j.backend.(pool.Confirmer)
	if !j.ready || !ok || !b.Devices.Present(j.conn.Path) {
		return false, nil
	}
	conn, err := pending.Confirm(ctx, b.request(j))
	switch {
	case errors.Is(err, pool.ErrUnreachable):
		return false, err
	case err != nil || conn.Path != j.conn.Path:
		b.log().WithError(err).Debugf("volume %s/%s is granted anew", j.disk.Pool, j.disk.Volume)
		return false, nil
	}
	j.granted, j.sure, j.conn = true, true, conn
	return true, nil
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
		j.granted, j.denied, j.refused = false, true, held.Holders
		return err
	}
	if err != nil {
		j.denied = !errors.Is(err, pool.ErrUnreachable)
		return err
	}
	j.sure = true
	if j.conn = conn; conn.Path != path {
		return fmt.Errorf("the path of volume %s/%s changed from %s to %s: repeat the command", j.disk.Pool, j.disk.Volume, path, conn.Path)
	}
	return nil
}

// request is what the pool is asked for the job. The boot that this host's own
// record names tells its grant from before a reboot from one of a clone.
func (b *Bridge) request(j *job) pool.GrantRequest {
	r := pool.GrantRequest{Volume: j.disk.Volume, Host: b.Host, BootID: b.BootID, Owner: j.owner, Mode: j.mode,
		Pending: j.announced}
	if j.prior != nil {
		r.PriorBootID = j.prior.BootID
	}
	return r
}
