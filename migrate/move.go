package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/volbridge/volbridge/internal/state"
)

// move tells libvirt to migrate and checks that the guest has arrived.
func (m *Mover) move(ctx context.Context, rec *record, f Facts, o Options) error {
	call, err := m.call(rec, f, o)
	if err != nil {
		return err
	}
	if err := rec.set(ctx, state.Moving); err != nil {
		return err
	}
	// Before the step is recorded: as long as it is not, recovery knows that libvirt
	// was told nothing, and takes back the volumes wherever the guest is.
	if err := m.unchanged(ctx, f); err != nil {
		return err
	}
	return rec.step(ctx, stepMove, struct{}{}, func() error {
		m.Watch.Step(fmt.Sprintf("migrate domain %s to %s", rec.d.Plan.Domain, o.DestURI))
		if err := m.migrate(ctx, f, call, o.StallLimit); err != nil {
			return err
		}
		return m.checkArrived(ctx, rec)
	})
}

func (m *Mover) call(rec *record, f Facts, o Options) (Call, error) {
	copies := rec.d.Plan.Copies()
	call := Call{UUID: rec.d.Plan.UUID, DestURI: o.DestURI, Tuning: o.Tuning}
	for _, c := range copies {
		call.CopyDisks = append(call.CopyDisks, c.Target)
	}
	var err error
	if call.DestXML, _, err = destinationXML(f.Guest.LiveXML, f.Live, copies); err != nil {
		return Call{}, err
	}
	if !f.Guest.Persistent {
		return call, nil
	}
	var skipped []string
	call.PersistXML, skipped, err = destinationXML(f.Guest.StoredXML, f.Live, copies)
	for _, t := range skipped {
		m.Watch.Warn(fmt.Sprintf("disk %s is not on the same source in the stored definition, which keeps what it says", t))
	}
	return call, err
}

// migrate runs libvirt's migration under the rule "no progress for N", and ends one
// of a guest whose disks are not those of the plan any more.
func (m *Mover) migrate(ctx context.Context, f Facts, call Call, limit time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := newStallGuard(limit, func() {
		cancel(fmt.Errorf("%w for %s (--timeout-stalled)", ErrStalled, limit))
	})
	defer guard.stop()
	var changed error
	look := m.watchDisks(ctx, f, func(err error) {
		changed = err
		cancel(err)
	})
	err := m.Source.Migrate(ctx, m.Dest, call, func(p Progress) {
		guard.saw(p)
		look()
		m.Watch.Progress(p)
	})
	if err == nil && changed != nil {
		return fmt.Errorf("the migration could not be ended any more: %w", changed)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w (libvirt: %w)", context.Cause(ctx), err)
	}
	return err
}
