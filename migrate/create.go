package migrate

import (
	"context"
	"fmt"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// prepareVolumes makes the new volumes and fills in the paths that their
// devices have on the destination.
func (m *Mover) prepareVolumes(ctx context.Context, rec *record) error {
	if err := rec.set(ctx, state.Preparing); err != nil {
		return err
	}
	for i := range rec.d.Plan.Disks {
		d := &rec.d.Plan.Disks[i]
		if d.Action != Copy {
			continue
		}
		if err := m.createVolume(ctx, rec, d); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mover) createVolume(ctx context.Context, rec *record, d *DiskPlan) error {
	b, err := m.Pools(d.Pool)
	if err != nil {
		return err
	}
	prov, ok := b.(pool.Provisioner)
	if !ok {
		return fmt.Errorf("pool %s cannot create volumes", d.Pool)
	}
	args := createArgs{Target: d.Target, Pool: d.Pool, Volume: d.Volume, CreationID: m.NewID()}
	return rec.step(ctx, stepCreate, args, func() error {
		m.Watch.Step(fmt.Sprintf("create volume %s/%s for disk %s", d.Pool, d.Volume, d.Target))
		v, err := prov.Create(ctx, pool.CreateRequest{Name: d.Volume, SizeBytes: d.GuestBytes, CreationID: args.CreationID})
		if err != nil {
			return fmt.Errorf("disk %s: %w", d.Target, err)
		}
		if v.SizeBytes < d.GuestBytes {
			return fmt.Errorf("disk %s: pool %s made volume %s with %d bytes, less than the %d that were asked for", d.Target, d.Pool, d.Volume, v.SizeBytes, d.GuestBytes)
		}
		d.VolumeBytes = v.SizeBytes
		// As this host would reach it; should the destination reach it
		// otherwise, its hook writes its own path.
		c, err := b.Connection(ctx, d.Volume, m.Host)
		if err != nil {
			return fmt.Errorf("disk %s: %w", d.Target, err)
		}
		if c.Identity != v.Identity {
			return fmt.Errorf("disk %s: somebody else made volume %s/%s anew just now", d.Target, d.Pool, d.Volume)
		}
		d.Path = c.Path
		return nil
	})
}
