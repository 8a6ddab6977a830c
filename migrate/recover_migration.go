package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/internal/state"
)

// migrations handles every migration that did not end.
func (r *Recoverer) migrations(ctx context.Context) ([]Finding, error) {
	list, err := r.Mover(nil, nil).Journal.Migrations(ctx, true)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, m := range list {
		out = append(out, r.migration(ctx, m))
	}
	return out, nil
}

// migration handles one, under the lock that a living command would hold: so
// neither a command nor another recovery works on it meanwhile.
func (r *Recoverer) migration(ctx context.Context, m state.Migration) Finding {
	ctx, cancel := r.limited(ctx)
	defer cancel()
	f := Finding{
		Kind:    "migration",
		Subject: fmt.Sprintf("%d: domain %s from %s to %s", m.ID, m.DomainName, m.SourceURI, m.DestURI),
		Action:  "none", Outcome: Unfinished,
	}
	release, held, err := r.Claim(m.DomainUUID)
	switch {
	case err != nil:
		f.Seen, f.Error = "whether its command still runs is not known", err.Error()
		return f
	case held:
		f.Seen, f.Outcome = fmt.Sprintf("%s, and its command still runs", m.State), Kept
		return f
	}
	defer release()
	var d detail
	if err := json.Unmarshal(m.Detail, &d); err != nil {
		f.Seen, f.Error = "its record cannot be read", err.Error()
		return f
	}
	return r.dead(ctx, f, m, d)
}

// corpse is a migration whose command is gone, and what both daemons say.
type corpse struct {
	state    state.MigrationState
	rec      *record
	mv       *Mover
	src, dst sight
}

func (r *Recoverer) dead(ctx context.Context, f Finding, m state.Migration, d detail) Finding {
	src, srcErr := r.Dial(ctx, m.SourceURI)
	if srcErr == nil {
		defer src.Close()
	}
	dst, dstErr := r.Dial(ctx, m.DestURI)
	if dstErr == nil {
		defer dst.Close()
	}
	mv := r.Mover(src, dst)
	c := corpse{state: m.State, mv: mv, rec: &record{j: mv.Journal, id: m.ID, d: d, dead: true}}
	told, err := c.told(ctx)
	switch {
	case err != nil:
		f.Seen, f.Error = "its steps cannot be read", err.Error()
		return f
	case !told:
		f.Seen, f.Action = fmt.Sprintf("its command died while %s, before libvirt was told to migrate", m.State), "delete the volumes that it made"
		return r.do(f, func() error { return mv.undo(ctx, c.rec) })
	}
	c.src, c.dst = sights(
		func() sight { return look(ctx, src, srcErr, m.DomainUUID) },
		func() sight { return look(ctx, dst, dstErr, m.DomainUUID) })
	return r.judged(ctx, f, c)
}

// told says whether libvirt may have been told to migrate.
func (c corpse) told(ctx context.Context) (bool, error) {
	steps, err := c.mv.Journal.Steps(ctx, c.rec.id)
	for _, s := range steps {
		if s.Kind == stepMove {
			return true, err
		}
	}
	return c.state == state.Arrived, err
}

// judged decides by where the guest is now, and by whether it is there on the
// volumes that this migration made.
func (r *Recoverer) judged(ctx context.Context, f Finding, c corpse) Finding {
	place, why := judge(c.src, c.dst)
	f.Seen = fmt.Sprintf("where the guest runs is %s: %s", place, why)
	var ours bool
	var err error
	switch place {
	case AtSource:
		ours, err = onCopies(ctx, c.mv.Source, c.rec.d.Plan)
	case AtDestination:
		ours, err = onCopies(ctx, c.mv.Dest, c.rec.d.Plan)
	}
	copies := len(c.rec.d.Plan.Copies()) > 0
	switch {
	case err != nil:
		f.Error = err.Error()
		return f
	case place == AtBoth, place == Unconfirmed:
		p := c.rec.d.Plan
		f.Error = "nothing was changed: " + place.remedy(p.Domain, p.Source, p.Destination)
		return f
	case place == AtDestination && ours:
		f.Seen, f.Action = "the guest has arrived", "finish what was asked for"
		return r.do(f, func() error { return r.forward(ctx, c.mv, c.rec) })
	case place == AtSource && (c.state == state.Arrived || copies && ours):
		// Whatever moved it back knows more than this record: what was copied
		// from may be in use again.
		f.Seen, f.Action = "the guest had arrived, and has come back", "close the record; what was copied is not removed"
		return r.do(f, func() error { return c.rec.set(ctx, state.Finished) })
	case place == AtSource && c.dst.err != nil:
		// It may have arrived, and been started here again by its old definition
		// since; the one over there names what would be deleted.
		f.Seen = fmt.Sprintf("the guest runs on the source, but the destination does not answer: %v", c.dst.err)
		f.Action = fmt.Sprintf("once it answers, run `volbridge recover` again; if it never will, close the record and keep the volumes with `volbridge recover --abandon %d`", c.rec.id)
		return f
	case place == AtSource:
		f.Seen, f.Action = "its command died, and the guest stayed on the source", "delete the volumes that it made"
		return r.do(f, func() error { return c.mv.undo(ctx, c.rec) })
	case place == AtDestination && c.state != state.Arrived:
		f.Seen, f.Action = "another migration has moved the guest", "delete the volumes that this one made"
		return r.do(f, func() error { return c.mv.undo(ctx, c.rec) })
	case c.state == state.Arrived && place != InFlight && c.src.err == nil && c.dst.err == nil:
		f.Seen, f.Action = "the guest had arrived, and is elsewhere or off by now", "close the record; what was copied is not removed"
		return r.do(f, func() error { return c.rec.set(ctx, state.Finished) })
	}
	f.Error = fmt.Sprintf("nothing was changed: look with `virsh list --all` on both hosts; to close the record and keep %s, run `volbridge recover --abandon %d`",
		volumesOf(c.rec.d.Plan), c.rec.id)
	return f
}

// volumesOf names the volumes that a migration made, for people.
func volumesOf(p Plan) string {
	var names []string
	for _, c := range p.Copies() {
		names = append(names, c.Pool+"/"+c.Volume)
	}
	if len(names) == 0 {
		return "everything as it is"
	}
	return "volume " + strings.Join(names, " and ")
}

// forward finishes a migration whose guest has arrived.
func (r *Recoverer) forward(ctx context.Context, mv *Mover, rec *record) error {
	warnings, err := mv.Finish(ctx, rec)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		mv.Watch.Warn(w)
	}
	return nil
}

// ErrNoMigration: there is no record of a migration that did not end.
var ErrNoMigration = errors.New("no unfinished migration")

// Abandon closes the record of a migration that cannot be judged, and keeps
// everything: the administrator has looked.
func (r *Recoverer) Abandon(ctx context.Context, id int64) (Finding, error) {
	journal := r.Mover(nil, nil).Journal
	list, err := journal.Migrations(ctx, true)
	if err != nil {
		return Finding{}, err
	}
	for _, m := range list {
		if m.ID == id {
			return r.abandon(ctx, journal, m)
		}
	}
	return Finding{}, fmt.Errorf("%w has the number %d: `volbridge recover --dry-run` lists them", ErrNoMigration, id)
}

func (r *Recoverer) abandon(ctx context.Context, j Journal, m state.Migration) (Finding, error) {
	release, held, err := r.Claim(m.DomainUUID)
	if err != nil {
		return Finding{}, err
	}
	if held {
		return Finding{}, fmt.Errorf("migration %d of domain %s still runs: end it with Ctrl-C", m.ID, m.DomainName)
	}
	defer release()
	var d detail
	if err := json.Unmarshal(m.Detail, &d); err != nil {
		return Finding{}, fmt.Errorf("read the record of migration %d: %w", m.ID, err)
	}
	f := Finding{
		Kind:    "migration",
		Subject: fmt.Sprintf("%d: domain %s from %s to %s", m.ID, m.DomainName, m.SourceURI, m.DestURI),
		Seen:    "abandoned as asked",
		Action:  "close the record; keep " + volumesOf(d.Plan),
	}
	return r.do(f, func() error { return j.SetMigration(ctx, m.ID, state.Finished, nil) }), nil
}
