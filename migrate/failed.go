package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/pool"
)

// FailedError is a migration that did not arrive.
type FailedError struct {
	Domain, SourceURI, DestURI string
	Cause                      error
	// Place is where the guest was seen after the failure.
	Place Place
	// Detail explains a Place that is not AtSource.
	Detail string
	// Undone: what was made has been taken back, except for Left.
	Undone bool
	Left   error
}

func (e *FailedError) Error() string {
	s := fmt.Sprintf("migrate domain %s to %s: %v", e.Domain, e.DestURI, e.Cause)
	switch {
	case e.Undone && e.Left == nil:
		return fmt.Sprintf("%s; %s, and everything was taken back", s, e.where())
	case e.Undone:
		return fmt.Sprintf("%s; %s, but this could not be taken back: %v; run `volbridge recover`%s to try again", s, e.where(), e.Left, e.holders())
	}
	if remedy := e.Place.remedy(e.Domain, e.SourceURI, e.DestURI); remedy != "" {
		return fmt.Sprintf("%s; nothing was taken back, and %s", s, remedy)
	}
	return fmt.Sprintf("%s; where the guest runs is %s (%s), so nothing was taken back: look with `virsh list` on both hosts, then run `volbridge recover`", s, e.Place, e.Detail)
}

// where describes the guest's place after a failure that was undone.
func (e *FailedError) where() string {
	if e.Place == AtDestination {
		return "another migration has moved the guest to the destination"
	}
	return "the guest runs on at the source"
}

// holders says where recovery has to run first: a host that holds a volume
// gives it up itself.
func (e *FailedError) holders() string {
	var held *pool.HeldError
	if !errors.As(e.Left, &held) {
		return ""
	}
	var hosts []string
	for _, h := range held.Holders {
		hosts = append(hosts, h.Host.Name)
	}
	return fmt.Sprintf(" on %s, and then here,", strings.Join(hosts, " and "))
}

func (e *FailedError) Unwrap() error { return e.Cause }

// failed looks where the guest is after an error.
func (m *Mover) failed(ctx context.Context, rec *record, cause error) *FailedError {
	fail := &FailedError{Domain: rec.d.Plan.Domain, SourceURI: rec.d.Plan.Source, DestURI: rec.d.Plan.Destination, Cause: cause}
	fail.Place, fail.Detail = m.settle(ctx, rec.d.Plan.UUID)
	return fail
}

// goBack undoes what was done, if the guest is certainly still on the source.
func (m *Mover) goBack(ctx context.Context, rec *record, fail *FailedError) error {
	if fail.Place != AtSource && !m.movedByAnother(ctx, fail.Place, rec) {
		return fail
	}
	m.Watch.Step("take back what was made")
	fail.Undone, fail.Left = true, m.undo(ctx, rec)
	return fail
}

// movedByAnother says whether the guest is on the destination, but not on the
// volumes of this migration, which nobody needs then.
func (m *Mover) movedByAnother(ctx context.Context, place Place, rec *record) bool {
	if place != AtDestination {
		return false
	}
	ours, err := m.ours(context.WithoutCancel(ctx), rec.d.Plan)
	return err == nil && !ours
}
