package claims

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/volbridge/volbridge/pool"
)

// Leaving is a mark that the volume is being deleted: nobody who claims the
// volume from now on will hold it.
type Leaving struct {
	key    string
	ledger Ledger
}

// Leave marks the volume as being deleted, unless somebody holds it. Of several
// who delete at once one goes on, and the others wait until it is done: who
// deletes by name must not hit a volume that somebody makes under that name
// meanwhile. ErrGone: the volume is deleted. *pool.HeldError: nothing changed.
// After pool.ErrUnreachable the mark may be there; deleting again goes on.
func (l Ledger) Leave(ctx context.Context) (*Leaving, error) {
	deadline := time.NewTimer(2 * recent)
	defer deadline.Stop()
	for {
		m, err := l.Mark(ctx)
		if err != nil {
			return nil, err
		}
		err = l.first(ctx, m.key, deadline.C)
		switch {
		case err == nil:
			return m, nil
		case errors.Is(err, pool.ErrUnreachable) || ctx.Err() != nil:
			return nil, err
		}
		if err = m.Cancel(ctx, err); !errors.Is(err, errEarlier) {
			return nil, err
		}
		if err := l.wait(ctx, deadline.C); err != nil {
			return nil, err
		}
	}
}

// errEarlier: somebody else began to delete the volume before this host did.
var errEarlier = errors.New("somebody else is deleting it")

// Mark writes the mark of a deletion, whoever else has one or a claim.
func (l Ledger) Mark(ctx context.Context) (*Leaving, error) {
	now := l.Now()
	m := &Leaving{key: newKey(leaveMark, now), ledger: l}
	return m, l.Board.Write(ctx, map[string]string{m.key: fmt.Sprintf("%s %d", format, now.Unix())})
}

// Marks are the keys of the marks of deletions.
func Marks(notes map[string]string) []string { return keysWith(notes, leaveMark) }

// first waits until this mark is the only one. Where an earlier one stands it
// gives way at once; a later one will, if it has not gone on already, and then
// the volume goes.
func (l Ledger) first(ctx context.Context, key string, deadline <-chan time.Time) error {
	for pause := firstLook; ; pause = min(2*pause, slowestWay) {
		notes, err := l.Board.Notes(ctx)
		if err != nil {
			return err
		}
		if err := l.Unheld(notes); err != nil {
			return err
		}
		marks := l.marks(notes)
		switch {
		case !slices.Contains(marks, key):
			return errRemoved
		case len(marks) == 1:
			return nil
		case slices.ContainsFunc(marks, func(m string) bool { return nonce(m) < nonce(key) }):
			return errEarlier
		case !tick(ctx, pause, deadline):
			return l.stuck(marks[0])
		}
	}
}

// wait returns when no deletion goes on any more.
func (l Ledger) wait(ctx context.Context, deadline <-chan time.Time) error {
	for pause := firstLook; ; pause = min(2*pause, slowestWay) {
		notes, err := l.Board.Notes(ctx)
		if err != nil {
			return err
		}
		marks := l.marks(notes)
		if len(marks) == 0 {
			return nil
		}
		if !tick(ctx, pause, deadline) {
			return l.stuck(marks[0])
		}
	}
}

func (l Ledger) stuck(mark string) error {
	return fmt.Errorf("%w, and does not end: try again later, or %s", errEarlier, l.Remedy(clip(mark)))
}

// marks are those of deletions that go on: the process of one that is older must
// have died.
func (l Ledger) marks(notes map[string]string) []string {
	return slices.DeleteFunc(Marks(notes), func(m string) bool { return l.Now().Sub(madeAt(m)) > recent })
}

// Stands returns nil while the mark is there and nobody holds the volume.
func (m *Leaving) Stands(notes map[string]string) error {
	if err := m.ledger.Unheld(notes); err != nil {
		return err
	}
	if _, there := notes[m.key]; !there {
		return errRemoved
	}
	return nil
}

var errRemoved = errors.New("the mark of this deletion was removed by somebody else just now: repeat the command")

// Cancel takes the mark back because the volume stays, and returns why. If the
// mark is still there that is no *pool.HeldError any more.
func (m *Leaving) Cancel(ctx context.Context, why error) error {
	err := m.ledger.Board.Drop(ctx, m.key)
	if err == nil {
		return why
	}
	return fmt.Errorf("%v; and a note says that it is being deleted: repeat the deletion, or %s: %w", why, m.ledger.Remedy(m.key), err)
}
