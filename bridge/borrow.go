package bridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// noTarget stands in the place of a disk's target: what is borrowed is no disk.
const noTarget = "-"

// Borrow attaches one volume for a piece of work of this host itself, such as
// writing an image into it: exclusively, and recorded like the disk of a
// domain, with owner in the place of the domain. Return gives it back, and so
// does recovery after a crash; the owner's UUID must be a new one.
//
// The device is verified, and nothing on this host has it open: ErrInUse names
// what has. After an error nothing is held.
func (b *Bridge) Borrow(ctx context.Context, owner pool.Owner, poolName, volume string) (device blockdev.Device, err error) {
	unlock, err := b.lockDomain(ctx, owner.UUID)
	if err != nil {
		return blockdev.Device{}, err
	}
	defer unlock()
	j := &job{
		disk:  Disk{Target: noTarget, Pool: poolName, Volume: volume},
		owner: owner, mode: pool.Exclusive, phase: state.Held,
	}
	if err := b.connection(ctx, j, b.Pools); err != nil {
		return blockdev.Device{}, err
	}
	err = b.take(ctx, []*job{j}, func() (err error) {
		device, err = b.idle(ctx, j.conn)
		return err
	})
	if err != nil {
		return blockdev.Device{}, fmt.Errorf("volume %s/%s: %w", poolName, volume, err)
	}
	return device, nil
}

// Return gives back what was borrowed. What cannot be given back stays recorded,
// and the error wraps ErrLeft.
func (b *Bridge) Return(ctx context.Context, owner pool.Owner) error {
	return b.Release(ctx, owner.UUID, nil, Stop{})
}

// idle returns the attached device unless somebody has it open. A device that
// the array shows to its hosts for good was there before, and perhaps in use
// past volbridge; any other was made just now.
func (b *Bridge) idle(ctx context.Context, conn pool.Connection) (blockdev.Device, error) {
	transport, err := b.Devices.For(conn.Protocol)
	if err != nil {
		return blockdev.Device{}, err
	}
	if r, ok := transport.(blockdev.Remover); ok {
		if err := b.timed(ctx, conn, r.Flush); err != nil {
			return blockdev.Device{}, err
		}
	}
	// Once more, because only the transport says which node it is.
	ctx, cancel := b.deviceContext(ctx)
	defer cancel()
	return transport.Attach(ctx, conn)
}

// Forget removes the lock file of an owner that never comes again. Who waits for
// it notices, and makes it anew.
func (l FileLocks) Forget(ownerUUID string) error {
	err := os.Remove(filepath.Join(l.Dir, fileName("domain-"+ownerUUID)+".lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
