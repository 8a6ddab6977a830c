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
	return rec.step(ctx, stepMove, struct{}{}, func() error {
		m.Watch.Step(fmt.Sprintf("migrate domain %s to %s", rec.d.Plan.Domain, o.DestURI))
		if err := m.migrate(ctx, call, o.StallLimit); err != nil {
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

// migrate runs libvirt's migration under the rule "no progress for N".
func (m *Mover) migrate(ctx context.Context, call Call, limit time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := newStallGuard(limit, func() {
		cancel(fmt.Errorf("%w for %s (--timeout-stalled)", ErrStalled, limit))
	})
	defer guard.stop()
	err := m.Source.Migrate(ctx, m.Dest, call, func(p Progress) {
		guard.saw(p)
		m.Watch.Progress(p)
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w (libvirt: %w)", context.Cause(ctx), err)
	}
	return err
}
