package migrate

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/volbridge/volbridge/internal/state"
)

// Kinds of steps.
const (
	stepCreate = "create-volume"
	stepMove   = "migrate"
	stepRemove = "remove-source"
)

// Journal is where a migration is recorded; *state.Store is one.
type Journal interface {
	BeginMigration(ctx context.Context, m state.Migration) (id int64, err error)
	SetMigration(ctx context.Context, id int64, s state.MigrationState, detail []byte) error
	Migrations(ctx context.Context, unfinishedOnly bool) ([]state.Migration, error)
	TryStep(ctx context.Context, migrationID int64, kind string, args []byte) (n int, err error)
	SetStep(ctx context.Context, migrationID int64, n int, st state.StepStatus) error
	Steps(ctx context.Context, migrationID int64) ([]state.Step, error)
}

// detail is what resuming a migration needs.
type detail struct {
	Plan         Plan `json:"plan"`
	RemoveSource bool `json:"remove_source,omitempty"`
	PeerToPeer   bool `json:"peer_to_peer,omitempty"`
	Undefine     bool `json:"undefine_source,omitempty"`
}

// createArgs is what undoing a creation needs.
type createArgs struct {
	Target     string `json:"target"`
	Pool       string `json:"pool"`
	Volume     string `json:"volume"`
	CreationID string `json:"creation_id"`
}

// removeArgs says what of the source is to be removed.
type removeArgs struct {
	Target string `json:"target"`
	Pool   string `json:"pool,omitempty"`
	Volume string `json:"volume,omitempty"`
	// Identity and CreationID of what was copied; a file has only the first.
	Identity   string `json:"identity,omitempty"`
	CreationID string `json:"creation_id,omitempty"`
	File       string `json:"file,omitempty"`
}

// record is one migration in the journal.
type record struct {
	j  Journal
	id int64
	d  detail
	// dead: its command does not run any more, and recovery acts for it.
	dead bool
}

func begin(ctx context.Context, j Journal, d detail, bootID string) (*record, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	id, err := j.BeginMigration(ctx, state.Migration{
		DomainUUID: d.Plan.UUID, DomainName: d.Plan.Domain,
		SourceURI: d.Plan.Source, DestURI: d.Plan.Destination,
		State: state.Planned, BootID: bootID, Detail: b,
	})
	if err != nil {
		return nil, fmt.Errorf("record the migration of domain %s: %w", d.Plan.Domain, err)
	}
	return &record{j: j, id: id, d: d}, nil
}

// removed are the disks whose source is recorded as removed.
func (r *record) removed(ctx context.Context) (map[string]bool, error) {
	steps, err := r.j.Steps(ctx, r.id)
	if err != nil {
		return nil, err
	}
	done := map[string]bool{}
	for _, s := range steps {
		if s.Kind != stepRemove || s.Status != state.Done {
			continue
		}
		var a removeArgs
		if err := json.Unmarshal(s.Args, &a); err != nil {
			return nil, fmt.Errorf("read step %d: %w", s.N, err)
		}
		done[a.Target] = true
	}
	return done, nil
}

// set stores how far the migration got. It is stored even when the caller has
// been interrupted: what was done stays done.
func (r *record) set(ctx context.Context, s state.MigrationState) error {
	b, err := json.Marshal(r.d)
	if err != nil {
		return err
	}
	if err := r.j.SetMigration(context.WithoutCancel(ctx), r.id, s, b); err != nil {
		return fmt.Errorf("record that the migration of domain %s is %s: %w", r.d.Plan.Domain, s, err)
	}
	return nil
}

// step records kind as being tried, acts, and records it as done. After an
// error of act the step stays *trying*: it may have happened.
func (r *record) step(ctx context.Context, kind string, args any, act func() error) error {
	b, err := json.Marshal(args)
	if err != nil {
		return err
	}
	n, err := r.j.TryStep(context.WithoutCancel(ctx), r.id, kind, b)
	if err != nil {
		return fmt.Errorf("record the step %s: %w", kind, err)
	}
	if err := act(); err != nil {
		return err
	}
	return r.mark(ctx, n, state.Done)
}

func (r *record) mark(ctx context.Context, n int, st state.StepStatus) error {
	if err := r.j.SetStep(context.WithoutCancel(ctx), r.id, n, st); err != nil {
		return fmt.Errorf("record step %d as %s: %w", n, st, err)
	}
	return nil
}
