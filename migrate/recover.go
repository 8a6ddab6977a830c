package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// Outcome of one finding.
type Outcome string

const (
	// Kept: as it should be for now; nothing to do.
	Kept Outcome = "kept"
	// WouldDo: not done because it was only to be shown.
	WouldDo Outcome = "planned"
	// Recovered: done.
	Recovered Outcome = "done"
	// Unfinished: somebody has to look, or recovery has to run again.
	Unfinished Outcome = "left"
	// Unknown: a pool could not be looked at, so that nothing is known of what
	// it may hold for this host. Recovery has to run again.
	Unknown Outcome = "unknown"
)

// Finding is one thing that a hook, a command or a host left behind.
type Finding struct {
	Kind    string  `json:"kind"`    // attachment, grant, migration, pool
	Subject string  `json:"subject"` // which
	Seen    string  `json:"seen"`    // what was found
	Action  string  `json:"action"`  // what is to be done about it
	Outcome Outcome `json:"outcome"`
	Error   string  `json:"error,omitempty"`
}

// Attachments is the part of the state store that recovery uses.
type Attachments interface {
	All(ctx context.Context) ([]state.Attachment, error)
	Domain(ctx context.Context, uuid string) ([]state.Attachment, error)
	Claim(ctx context.Context, a state.Attachment) (existing state.Attachment, had bool, err error)
}

// Recoverer returns what killed commands, hooks and hosts left on this host.
type Recoverer struct {
	Host       pool.Host
	BootID     string
	PendingAge time.Duration // a pending attachment younger than this may still be confirmed
	DryRun     bool
	Now        func() time.Time

	// Local is this host's libvirt; LocalErr says why there is none.
	Local    Hypervisor
	LocalErr error
	Dial     func(ctx context.Context, uri string) (Hypervisor, error)

	Store Attachments
	// Copies are the copies of images on this host; nil: none.
	Copies Copies
	// Release detaches and revokes one attachment and forgets its record.
	Release func(ctx context.Context, a state.Attachment) error
	// LockDomain is the lock that hooks take for their domain.
	LockDomain func(ctx context.Context, uuid string) (release func() error, err error)

	Pools     func(name string) (pool.Backend, error)
	PoolNames []string

	// Mover makes what carries out or undoes a migration between two daemons.
	Mover func(src, dst Hypervisor) *Mover
	// Claim takes the lock that a living migration of this domain, or the copy
	// of this owner, holds; held says that somebody has it.
	Claim func(uuid string) (release func() error, held bool, err error)
	// Limit bounds the work on one finding; 0: unbounded.
	Limit time.Duration
}

// Recover looks at everything and returns what it found, in the order in which
// it was handled. The error is non-nil only when it could not look at all.
func (r *Recoverer) Recover(ctx context.Context) ([]Finding, error) {
	records, err := r.Store.All(ctx)
	if err != nil {
		return nil, err
	}
	copies, err := r.copies(ctx)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, a := range records {
		if !copies.own(a.DomainUUID) {
			out = append(out, r.attachment(ctx, a))
		}
	}
	out = append(out, r.endCopies(ctx, copies)...)
	out = append(out, r.strayGrants(ctx, records)...)
	out = append(out, r.tidyPools(ctx)...)
	migrations, err := r.migrations(ctx)
	return append(out, migrations...), err
}

// limited bounds the work on one finding: one pool or host that hangs must not
// keep the others from being recovered.
func (r *Recoverer) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.Limit <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, r.Limit, fmt.Errorf("not done within %s", r.Limit))
}

// verdict is what is to be done with an attachment, and why.
type verdict struct {
	release bool
	left    bool // cannot be decided
	why     string
}

// judgeAttachment decides from the record and from what libvirt says. The
// record never says where a guest is.
func (r *Recoverer) judgeAttachment(a state.Attachment, s sight) verdict {
	age := r.Now().Sub(a.Updated)
	switch {
	case s.err != nil:
		return verdict{left: true, why: fmt.Sprintf("libvirt on this host does not answer (%v), so whether the domain runs is not known", s.err)}
	case s.w.Active:
		return verdict{why: "the domain is active here: " + s.w.State}
	case a.BootID != r.BootID:
		return verdict{release: true, why: "from before the last boot, and the domain is not active here"}
	case a.Phase == state.Pending && age.Abs() < r.PendingAge: // further ahead it is of a clock that was set back
		return verdict{why: fmt.Sprintf("made ready %s ago for a domain that is to arrive", age.Round(time.Second))}
	case a.Phase == state.Pending:
		when := age.Round(time.Second).String() + " ago"
		if age < 0 {
			when = "by a clock that was ahead"
		}
		return verdict{release: true, why: fmt.Sprintf("made ready %s for a domain that never arrived", when)}
	}
	return verdict{release: true, why: fmt.Sprintf("%s, but the domain is not active here", a.Phase)}
}

func attachmentText(a state.Attachment) string {
	owner := pool.Owner{UUID: a.DomainUUID, Name: a.DomainName}
	text := fmt.Sprintf("volume %s/%s for %s", a.Pool, a.Volume, owner.Text())
	if owner.Name == pool.CopyOwner {
		return text // which is no disk
	}
	return fmt.Sprintf("%s (disk %s)", text, a.Target)
}

func (r *Recoverer) attachment(ctx context.Context, a state.Attachment) Finding {
	ctx, cancel := r.limited(ctx)
	defer cancel()
	f := Finding{
		Kind:    "attachment",
		Subject: attachmentText(a),
	}
	s, err := r.lookOwner(ctx, pool.Owner{UUID: a.DomainUUID, Name: a.DomainName})
	if err != nil {
		f.Seen, f.Error, f.Outcome, f.Action = "whether its command still runs is not known", err.Error(), Unfinished, "none"
		return f
	}
	v := r.judgeAttachment(a, s)
	f.Seen = v.why
	switch {
	case v.left:
		f.Outcome, f.Action = Unfinished, "none"
		return f
	case !v.release:
		f.Outcome, f.Action = Kept, "none"
		return f
	}
	f.Action = "detach the device and return the grant"
	return r.do(f, func() error { return r.releaseUnchanged(ctx, a) })
}

// releaseUnchanged releases the attachment unless a hook has touched it since
// libvirt was asked. libvirt must not be asked under the domain's lock: it may
// itself be waiting for a hook that waits for that lock.
func (r *Recoverer) releaseUnchanged(ctx context.Context, a state.Attachment) error {
	unlock, err := r.LockDomain(ctx, a.DomainUUID)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := r.Store.Domain(ctx, a.DomainUUID)
	if err != nil {
		return err
	}
	for _, b := range now {
		if b.Pool == a.Pool && b.Volume == a.Volume {
			if b.Phase != a.Phase || !b.Updated.Equal(a.Updated) {
				return fmt.Errorf("a hook has just touched it (now %s): run recovery again", b.Phase)
			}
			return r.Release(ctx, b)
		}
	}
	return nil // a hook released it meanwhile
}

// strayGrants finds grants that the pools know of this host and that no
// record explains: the state file was lost.
func (r *Recoverer) strayGrants(ctx context.Context, records []state.Attachment) []Finding {
	known := map[string]bool{}
	for _, a := range records {
		known[a.Pool+"/"+a.Volume] = true
	}
	var out []Finding
	for _, name := range r.PoolNames {
		ctx, cancel := r.limited(ctx)
		fs, err := r.strayGrantsOf(ctx, name, known)
		cancel()
		if err != nil {
			fs = append(fs, Finding{Kind: "grant", Subject: "pool " + name, Seen: "cannot be looked at",
				Action: "none", Outcome: Unknown, Error: err.Error()})
		}
		out = append(out, fs...)
	}
	return out
}

func (r *Recoverer) strayGrantsOf(ctx context.Context, name string, known map[string]bool) ([]Finding, error) {
	b, err := r.Pools(name)
	if err != nil {
		return nil, err
	}
	held, err := r.heldHere(ctx, b, func(volume string) bool { return known[name+"/"+volume] })
	var out []Finding
	for _, h := range held {
		out = append(out, r.strayGrant(ctx, name, h.Volume, h.Holder))
	}
	return out, err
}

// heldHere lists what the pool says that this host holds, but for the volumes
// that are known.
func (r *Recoverer) heldHere(ctx context.Context, b pool.Backend, known func(volume string) bool) ([]pool.Held, error) {
	var held []pool.Held
	if l, ok := b.(pool.HeldLister); ok {
		all, err := l.HeldBy(ctx, r.Host.ID)
		for _, h := range all {
			if !known(h.Volume) {
				held = append(held, h)
			}
		}
		return held, err
	}
	volumes, err := b.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		if known(v.Name) {
			continue
		}
		holders, err := b.Holders(ctx, v.Name)
		if err != nil {
			return held, err
		}
		for _, h := range holders {
			if h.Host.ID == r.Host.ID {
				held = append(held, pool.Held{Volume: v.Name, Holder: h})
			}
		}
	}
	return held, nil
}

func (r *Recoverer) strayGrant(ctx context.Context, poolName, volume string, h pool.Holder) Finding {
	f := Finding{
		Kind:    "grant",
		Subject: fmt.Sprintf("volume %s/%s granted to this host for %s", poolName, volume, h.Owner.Text()),
		Action:  "none", Outcome: Unfinished,
	}
	s, err := r.lookOwner(ctx, h.Owner)
	switch {
	case err != nil:
		f.Seen, f.Error = "no record explains it, and whether its command still runs is not known", err.Error()
		return f
	case s.err != nil:
		f.Seen = fmt.Sprintf("no record explains it, and libvirt on this host does not answer: %v", s.err)
		return f
	case s.w.Active:
		f.Seen = "no record explains it, but the domain is active here"
		f.Outcome = Kept
		return f
	}
	if h.BootID != r.BootID {
		f.Seen = "no record explains it, the domain is not active here, and it is from another boot of a host with the id of this one: " +
			"of this host before its last boot, or of a clone"
		f.Action = fmt.Sprintf("none; if no other host is a clone of this one, return it with `volbridge volume revoke %s/%s --host %s`",
			poolName, volume, h.Host.Name)
		return f
	}
	f.Seen, f.Action = "no record explains it, and the domain is not active here", "detach the device and return the grant"
	return r.do(f, func() error {
		return r.releaseUnchangedGrant(ctx, poolName, volume, h)
	})
}

// releaseUnchangedGrant releases a grant without a record, unless a hook has
// recorded one since.
func (r *Recoverer) releaseUnchangedGrant(ctx context.Context, poolName, volume string, h pool.Holder) error {
	unlock, err := r.LockDomain(ctx, h.Owner.UUID)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := r.Store.All(ctx)
	if err != nil {
		return err
	}
	for _, a := range all {
		switch {
		case a.Pool == poolName && a.Volume == volume:
			return fmt.Errorf("a hook has just recorded it for domain %s: run recovery again", a.DomainName)
		case a.DomainUUID == h.Owner.UUID && a.Volume == volume:
			// Returning it would take the volume from a guest that is arriving.
			return fmt.Errorf("domain %s has volume %s/%s, which may be the same one: configure each array, and each pod of it, as one pool only",
				a.DomainName, a.Pool, a.Volume)
		}
	}
	// With a record first: should the power go here, the next recovery finds it.
	a, _, err := r.Store.Claim(ctx, state.Attachment{
		DomainUUID: h.Owner.UUID, DomainName: h.Owner.Name, Pool: poolName, Volume: volume, Mode: string(h.Mode),
	})
	if err != nil {
		return err
	}
	return r.Release(ctx, a)
}

// do acts, or says that it would.
func (r *Recoverer) do(f Finding, act func() error) Finding {
	if r.DryRun {
		f.Outcome = WouldDo
		return f
	}
	if err := act(); err != nil {
		f.Outcome, f.Error = Unfinished, err.Error()
		return f
	}
	f.Outcome = Recovered
	return f
}
