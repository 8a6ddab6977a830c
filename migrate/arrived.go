package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/domainxml"
)

// checkArrived believes libvirt's success only after both daemons were asked.
func (m *Mover) checkArrived(ctx context.Context, rec *record) error {
	place, why := m.settle(ctx, rec.d.Plan.UUID)
	if place != AtDestination {
		return fmt.Errorf("libvirt reported success, but the guest was not seen on the destination alone: it is %s (%s)", place, why)
	}
	ours, err := m.ours(ctx, rec.d.Plan)
	if err == nil && !ours {
		err = errors.New("libvirt reported success, but the guest on the destination does not use the volumes of this migration")
	}
	return err
}

// arrivedAnyway says whether a guest that was seen somewhere arrived although
// libvirt reported an error: the point of no return may lie before the error.
func (m *Mover) arrivedAnyway(ctx context.Context, rec *record, place Place) bool {
	if place != AtDestination {
		return false
	}
	ours, err := m.ours(context.WithoutCancel(ctx), rec.d.Plan)
	return err == nil && ours
}

// ours says whether the guest on the destination uses the volumes that this
// migration made for it. If not, another migration has moved it there.
func (m *Mover) ours(ctx context.Context, p Plan) (bool, error) { return onCopies(ctx, m.Dest, p) }

// onCopies says whether the guest that runs on h has every copied disk on the
// volume that the plan made for it.
func onCopies(ctx context.Context, h Hypervisor, p Plan) (bool, error) {
	xml, err := h.LiveXML(ctx, p.UUID)
	if err != nil {
		return false, fmt.Errorf("read the running definition of domain %s on %s: %w", p.Domain, h.URI(), err)
	}
	doc, err := domainxml.Parse([]byte(xml))
	if err != nil {
		return false, fmt.Errorf("read the running definition of domain %s on %s: %w", p.Domain, h.URI(), err)
	}
	meta, _ := doc.Metadata()
	declared := map[string]Located{}
	for _, d := range meta.Disks {
		declared[d.Target] = Located{d.Pool, d.Volume}
	}
	for _, c := range p.Copies() {
		if declared[c.Target] != (Located{c.Pool, c.Volume}) {
			return false, nil
		}
	}
	return true, nil
}

// settle asks both daemons where the guest is until it is no longer under
// way, or the deadline passes. That it runs on both is said at once.
func (m *Mover) settle(ctx context.Context, uuid string) (Place, string) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), m.Settle,
		fmt.Errorf("the deadline of %s passed", m.Settle))
	defer cancel()
	var place Place
	var why string
	// Neither daemon announces that it has finished cleaning up, and one of
	// them may be restarting.
	_ = until(ctx, "both hosts to settle", func() (bool, error) {
		place, why = judge(sights(
			func() sight { return look(ctx, m.Source, nil, uuid) },
			func() sight { return m.lookAtDest(ctx, uuid) }))
		return place == AtSource || place == AtDestination || place == AtBoth, nil
	})
	return place, why
}

// lookAtDest asks the destination, over a new connection where the old one
// died.
func (m *Mover) lookAtDest(ctx context.Context, uuid string) sight {
	s := look(ctx, m.Dest, errors.New("not connected"), uuid)
	if s.err == nil || m.Redial == nil {
		return s
	}
	h, err := m.Redial(ctx)
	if err != nil {
		return sight{err: errors.Join(s.err, err)}
	}
	m.Dest.Close()
	m.Dest = h
	return look(ctx, h, nil, uuid)
}
