package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// undo takes back every step that may have happened, in reverse, and goes on
// past failures. The caller knows that the guest does not run on the new
// volumes. A failed undo leaves the migration in `undoing`, for recovery to
// judge anew.
func (m *Mover) undo(ctx context.Context, rec *record) error {
	ctx, cancel := m.afterwards(ctx)
	defer cancel()
	if err := rec.set(ctx, state.Undoing); err != nil {
		return err
	}
	steps, err := m.Journal.Steps(ctx, rec.id)
	if err != nil {
		return err
	}
	var errs []error
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].Status == state.Undo {
			continue
		}
		if err := m.undoStep(ctx, rec, steps[i]); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := rec.mark(ctx, steps[i].N, state.Undo); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return rec.set(ctx, state.Undone)
}

func (m *Mover) undoStep(ctx context.Context, rec *record, s state.Step) error {
	switch s.Kind {
	case stepCreate:
		var a createArgs
		if err := json.Unmarshal(s.Args, &a); err != nil {
			return fmt.Errorf("read step %d: %w", s.N, err)
		}
		if err := m.unnamed(ctx, rec, a); err != nil {
			return err
		}
		return m.deleteCreated(ctx, a)
	case stepMove:
		return nil // libvirt takes its own part back; the caller has seen that it did
	}
	return fmt.Errorf("step %d has the kind %q, which this version cannot undo: use the version that wrote it", s.N, s.Kind)
}

// deleteCreated removes a volume that this migration made, once no host holds
// it: the destination returns its grant when libvirt there has cleaned up.
func (m *Mover) deleteCreated(ctx context.Context, a createArgs) error {
	b, err := m.Pools(a.Pool)
	if err != nil {
		return err
	}
	prov, ok := b.(pool.Provisioner)
	if !ok {
		return fmt.Errorf("pool %s cannot delete volumes: delete %[1]s/%[2]s where the storage is managed, then run \"volbridge recover\"", a.Pool, a.Volume)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.Settle, fmt.Errorf("the deadline of %s passed", m.Settle))
	defer cancel()
	// Another host's grant goes without an event on this one.
	return until(ctx, fmt.Sprintf("volume %s/%s to be given up", a.Pool, a.Volume), func() (bool, error) {
		err := prov.Delete(ctx, a.Volume, a.CreationID)
		if errors.Is(err, pool.ErrNotOurs) {
			m.Watch.Warn(fmt.Sprintf("volume %s/%s was made by somebody else and stays", a.Pool, a.Volume))
			return true, nil
		}
		return err == nil, err
	})
}

// unnamed refuses to delete a volume that a domain names by now: it holds that
// domain's disk, and nobody holds it while that domain is shut off. A daemon that
// recovery could not connect to says nothing of its domains. While the command of
// a direct migration lives, a destination that does not answer any more does not
// count: nothing arrives there without this process, and nobody has had the time to
// give the volume to another domain.
func (m *Mover) unnamed(ctx context.Context, rec *record, a createArgs) error {
	path, err := m.pathOf(ctx, rec.d.Plan, a)
	if err != nil {
		return fmt.Errorf("whether a domain uses volume %s/%s is not known: %w", a.Pool, a.Volume, err)
	}
	if path == "" {
		return nil
	}
	for _, h := range []struct {
		Hypervisor
		uri    string
		counts bool
	}{{m.Source, rec.d.Plan.Source, true}, {m.Dest, rec.d.Plan.Destination, rec.d.PeerToPeer || rec.dead}} {
		if h.Hypervisor == nil {
			return fmt.Errorf("whether a domain uses volume %s/%s is not known: %s does not answer; once it does, run `volbridge recover` again, or, if it never will, close the record and keep the volume with `volbridge recover --abandon %d`",
				a.Pool, a.Volume, h.uri, rec.id)
		}
		users, err := h.UsersOf(ctx, path)
		if err != nil && h.counts {
			return fmt.Errorf("whether a domain uses volume %s/%s is not known: %w", a.Pool, a.Volume, err)
		}
		if len(users) > 0 {
			return fmt.Errorf("volume %s/%s is named by domain %s on %s, and stays: delete it with `volbridge volume delete` if it is not needed; if it is, close the record with `volbridge recover --abandon %d`",
				a.Pool, a.Volume, strings.Join(users, " and "), h.URI(), rec.id)
		}
	}
	return nil
}

// pathOf is the path of a volume that this migration made, "" if there is none.
// The record has it only once libvirt is about to be told: before, the pool is
// asked.
func (m *Mover) pathOf(ctx context.Context, p Plan, a createArgs) (string, error) {
	for _, c := range p.Copies() {
		if c.Pool == a.Pool && c.Volume == a.Volume && c.Path != "" {
			return c.Path, nil
		}
	}
	b, err := m.Pools(a.Pool)
	if err != nil {
		return "", err
	}
	v, err := b.Lookup(ctx, a.Volume)
	if errors.Is(err, pool.ErrNotFound) || err == nil && v.CreationID != a.CreationID {
		return "", nil // it may be somebody else's by now, and deleting it says so
	}
	if err != nil {
		return "", err
	}
	c, err := b.Connection(ctx, a.Volume, m.Host)
	return c.Path, err
}
