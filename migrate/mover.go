package migrate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/pool"
)

// Observer hears what happens; a command shows it.
type Observer interface {
	Planned(Plan)
	Step(text string)
	Progress(Progress)
	Warn(text string)
}

// Mover carries out migrations. Its fields are what it works with.
type Mover struct {
	Source Hypervisor
	Dest   Hypervisor
	// Redial opens a new connection to the destination, for when the daemon
	// there was restarted under a migration.
	Redial func(ctx context.Context) (Hypervisor, error)
	// Host is the one that this process runs on.
	Host pool.Host
	// Pools opens a configured pool by name.
	Pools func(name string) (pool.Backend, error)
	// PoolNames are the configured pools.
	PoolNames []string
	// Recognise finds the disks that a pool knows as its own.
	Recognise func(ctx context.Context, doc *domainxml.Document) (map[string]Located, error)
	Journal   Journal
	// Lock takes the lock file of the domain, or returns ErrLocked at once.
	Lock    func(path string) (release func() error, err error)
	LockDir string
	BootID  string
	// Limit bounds what is done after the guest has arrived, or has stayed.
	Limit time.Duration
	// Settle bounds the wait for the destination to give up what it held
	// after a failure.
	Settle time.Duration
	// Inhibit keeps the host up meanwhile.
	Inhibit func(why string) (release func())
	Watch   Observer
	// NewID makes the creation ids of volumes.
	NewID func() string
}

// Result is a migration that arrived.
type Result struct {
	Plan     Plan          `json:"plan"`
	Elapsed  time.Duration `json:"-"`
	Seconds  float64       `json:"seconds"`
	Warnings []string      `json:"warnings,omitempty"`
}

// ErrStalled ends a migration in which nothing moved for too long.
var ErrStalled = errors.New("nothing moved")

// ErrLocked is what Mover.Lock returns for a lock that somebody has.
var ErrLocked = errors.New("lock is held")

// LockName is the name of the lock file that a living migration of a domain
// holds.
func LockName(uuid string) string { return "migrate-" + uuid + ".lock" }

// Run plans and carries out a migration. From before the first look at the
// guest until its end it holds the lock of the domain.
func (m *Mover) Run(ctx context.Context, o Options) (Result, error) {
	start := time.Now()
	uuid, name, err := m.Source.Resolve(ctx, o.Domain)
	if err != nil {
		return Result{}, fmt.Errorf("look up domain %s on %s: %w", o.Domain, m.Source.URI(), err)
	}
	release, err := m.Lock(filepath.Join(m.LockDir, LockName(uuid)))
	if errors.Is(err, ErrLocked) {
		r := &Refusal{Domain: name}
		r.add("another migration or recovery of it runs on this host: wait for it (%v)", err)
		return Result{}, r
	}
	if err != nil {
		return Result{}, err
	}
	defer release()
	f, plan, err := m.Plan(ctx, o)
	if err != nil {
		return Result{}, err
	}
	m.Watch.Planned(plan)
	if o.RemoveSource {
		if err := m.identifySources(ctx, &plan); err != nil {
			return Result{}, err
		}
	}
	rec, err := begin(ctx, m.Journal, detail{
		Plan: plan, RemoveSource: o.RemoveSource, PeerToPeer: o.Tuning.PeerToPeer, Undefine: o.Tuning.UndefineSource,
	}, m.BootID)
	if err != nil {
		return Result{}, err
	}
	if m.Inhibit != nil {
		defer m.Inhibit("migrating domain " + plan.Domain)()
	}
	return m.carryOut(ctx, rec, f, o, start)
}

// identifySources notes which volumes and files are to be removed later: by
// then, the same name may be another's.
func (m *Mover) identifySources(ctx context.Context, p *Plan) error {
	for i := range p.Disks {
		d := &p.Disks[i]
		if d.Action != Copy {
			continue
		}
		if d.SourcePool == "" {
			if err := m.identifyFile(ctx, d); err != nil {
				return err
			}
			continue
		}
		b, err := m.Pools(d.SourcePool)
		if err != nil {
			return err
		}
		v, err := b.Lookup(ctx, d.SourceVol)
		if err != nil {
			return fmt.Errorf("disk %s: %w", d.Target, err)
		}
		d.SourceIdentity, d.SourceCreation = string(v.Identity), v.CreationID
	}
	return nil
}

func (m *Mover) identifyFile(ctx context.Context, d *DiskPlan) (err error) {
	if d.SourceFile == "" {
		return nil
	}
	if d.SourceIdentity, err = m.Source.FileIdentity(ctx, d.SourceFile); err != nil {
		return fmt.Errorf("disk %s: look at %s on %s: %w", d.Target, d.SourceFile, m.Source.URI(), err)
	}
	return nil
}

func (m *Mover) carryOut(ctx context.Context, rec *record, f Facts, o Options, start time.Time) (Result, error) {
	if err := m.prepareVolumes(ctx, rec); err != nil {
		return Result{}, m.goBack(ctx, rec, m.failed(ctx, rec, err))
	}
	if err := m.move(ctx, rec, f, o); err != nil {
		fail := m.failed(ctx, rec, err)
		if !m.arrivedAnyway(ctx, rec, fail.Place) {
			return Result{}, m.goBack(ctx, rec, fail)
		}
		m.Watch.Warn(fmt.Sprintf("libvirt reported a failure, but the guest runs on the destination and not on the source: %v", err))
	}
	warnings, err := m.Finish(ctx, rec)
	res := Result{Plan: rec.d.Plan, Elapsed: time.Since(start), Seconds: time.Since(start).Seconds(), Warnings: warnings}
	for _, w := range warnings {
		m.Watch.Warn(w)
	}
	return res, err
}
