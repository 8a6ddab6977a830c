package migrate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
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

// FailedError is a migration that did not arrive.
type FailedError struct {
	Domain, DestURI string
	Cause           error
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

// identifySources notes which volumes are to be removed later: by then, the
// same name may be another volume's.
func (m *Mover) identifySources(ctx context.Context, p *Plan) error {
	for i := range p.Disks {
		d := &p.Disks[i]
		if d.Action != Copy || d.SourcePool == "" {
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
		d.SourceIdentity = string(v.Identity)
	}
	return nil
}

func (m *Mover) carryOut(ctx context.Context, rec *record, f Facts, o Options, start time.Time) (Result, error) {
	if err := m.prepareVolumes(ctx, rec); err != nil {
		return Result{}, m.goBack(ctx, rec, err)
	}
	if err := m.move(ctx, rec, f, o); err != nil {
		if forward := m.arrivedAnyway(ctx, rec); !forward {
			return Result{}, m.goBack(ctx, rec, err)
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
		d.Path = c.Path
		return nil
	})
}

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

// arrivedAnyway says whether the guest arrived although libvirt reported an
// error: the point of no return may lie before the error.
func (m *Mover) arrivedAnyway(ctx context.Context, rec *record) bool {
	place, _ := m.settle(ctx, rec.d.Plan.UUID)
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
// way, or the deadline passes.
func (m *Mover) settle(ctx context.Context, uuid string) (Place, string) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), m.Settle,
		fmt.Errorf("the deadline of %s passed", m.Settle))
	defer cancel()
	var place Place
	var why string
	// Neither daemon announces that it has finished cleaning up, and one of
	// them may be restarting.
	_ = until(ctx, "both hosts to settle", func() (bool, error) {
		place, why = judge(look(ctx, m.Source, nil, uuid), m.lookAtDest(ctx, uuid))
		return place == AtSource || place == AtDestination, nil
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

// goBack undoes what was done, if the guest is certainly still on the source.
func (m *Mover) goBack(ctx context.Context, rec *record, cause error) error {
	fail := &FailedError{Domain: rec.d.Plan.Domain, DestURI: rec.d.Plan.Destination, Cause: cause}
	fail.Place, fail.Detail = m.settle(ctx, rec.d.Plan.UUID)
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
