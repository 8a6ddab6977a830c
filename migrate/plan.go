package migrate

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

// Action says what happens to a disk.
type Action string

const (
	// Shared: both hosts reach the volume; it is granted, not copied.
	Shared Action = "shared"
	// Copy: a new volume is made and libvirt copies the disk into it.
	Copy Action = "copy"
	// Leave: no data of this guest's own, or vouched for.
	Leave Action = "leave"
)

// DiskPlan is what happens to one disk.
type DiskPlan struct {
	Target      string `json:"target"`
	Action      Action `json:"action"`
	From        string `json:"from"`                   // path, or pool/volume
	Why         string `json:"why"`                    // one phrase for people
	GuestBytes  int64  `json:"guest_bytes,omitempty"`  // the size that the guest sees
	Pool        string `json:"pool,omitempty"`         // where the disk is afterwards
	Volume      string `json:"volume,omitempty"`       //
	VolumeBytes int64  `json:"volume_bytes,omitempty"` // copy: the size that the volume will have
	Path        string `json:"path,omitempty"`         // the device's path on the destination, once the volume exists
	SourcePool  string `json:"source_pool,omitempty"`  // where a managed disk is now
	SourceVol   string `json:"source_volume,omitempty"`
	SourceFile  string `json:"source_file,omitempty"` // an image file that is not a pool's
	SourcePath  string `json:"source_path,omitempty"` // as the guest's definition names it
	// SourceIdentity is set where the source is to be removed: of a volume, or
	// of an image file that has one.
	SourceIdentity string `json:"source_identity,omitempty"`
	// SourceCreation is that volume's CreationID: of some storage the identity is no
	// more than the name.
	SourceCreation string `json:"source_creation,omitempty"`
	// Stored: the stored definition has the disk on the same source as the
	// running one, and so is to follow it.
	Stored bool `json:"stored,omitempty"`
}

// Plan is a migration before it happens.
type Plan struct {
	Domain      string     `json:"domain"`
	UUID        string     `json:"uuid"`
	Source      string     `json:"source"`
	SourceHost  string     `json:"source_host"`
	Destination string     `json:"destination"`
	DestHost    string     `json:"destination_host"`
	Persistent  bool       `json:"persistent"`
	Disks       []DiskPlan `json:"disks"`
	Warnings    []string   `json:"warnings,omitempty"`
}

// Copies are the disks that are copied.
func (p Plan) Copies() []DiskPlan {
	var out []DiskPlan
	for _, d := range p.Disks {
		if d.Action == Copy {
			out = append(out, d)
		}
	}
	return out
}

// Located is a disk that a pool recognises as its own.
type Located struct {
	Pool, Volume string
}

// PoolView is what planning knows of one configured pool.
type PoolView struct {
	Provisions bool
	Round      func(sizeBytes int64) int64
	FreeBytes  int64                             // -1: unknown
	Exists     func(volume string) (bool, error) // also says when a name is impossible
	Remote     error                             // why the destination cannot serve the pool; nil: it can
}

// Facts is all that a plan is made from.
type Facts struct {
	Guest      Guest
	Live       *domainxml.Document
	Stored     *domainxml.Document // nil: a transient domain
	Managed    map[string]Located  // target → volume
	Pools      map[string]PoolView
	Source     HostInfo
	Dest       HostInfo
	SourceURI  string
	DestGuests []Guest // domains on the destination with the same UUID or name
}

// Refusal lists everything that speaks against a migration. Nothing was
// changed.
type Refusal struct {
	Domain   string
	Problems []string // what, and what to do about it
}

func (r *Refusal) Error() string {
	if len(r.Problems) == 1 {
		return fmt.Sprintf("domain %s cannot be migrated: %s", r.Domain, r.Problems[0])
	}
	return fmt.Sprintf("domain %s cannot be migrated, for %d reasons:\n  - %s",
		r.Domain, len(r.Problems), strings.Join(r.Problems, "\n  - "))
}

func (r *Refusal) add(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// NewPlan decides what happens to each disk. It only thinks; whatever it
// refuses, it refuses at once and completely, as a *Refusal.
func NewPlan(f Facts, o Options) (Plan, error) {
	r := &Refusal{Domain: f.Guest.Name}
	checkGuest(r, f)
	checkHosts(r, f, o)
	p := Plan{
		Domain: f.Guest.Name, UUID: f.Guest.UUID, Persistent: f.Guest.Persistent,
		Source: f.SourceURI, SourceHost: f.Source.Name,
		Destination: o.DestURI, DestHost: f.Dest.Name,
	}
	if f.Live != nil {
		planDisks(&p, r, f, o)
	}
	if len(r.Problems) > 0 {
		return Plan{}, r
	}
	return p, nil
}

// planDisks decides disk by disk and checks that every disk that was named
// exists.
func planDisks(p *Plan, r *Refusal, f Facts, o Options) {
	known := map[string]bool{}
	taken := map[string]bool{}
	for _, d := range f.Live.Disks() {
		known[d.Target] = true
		p.Disks = append(p.Disks, planDisk(p, r, f, o, d, taken))
	}
	for _, t := range namedTargets(o) {
		if !known[t] {
			r.add("it has no disk %s: `volbridge domain disks %s` lists its disks", t, f.Guest.Name)
		}
	}
}

// namedTargets lists the disks that the options name, in a stable order.
func namedTargets(o Options) []string {
	var ts []string
	for t := range o.Disks {
		ts = append(ts, t)
	}
	ts = append(ts, o.Leave...)
	sort.Strings(ts)
	return ts
}

func planDisk(p *Plan, r *Refusal, f Facts, o Options, d domainxml.Disk, taken map[string]bool) DiskPlan {
	dp := DiskPlan{Target: d.Target, From: d.Source, SourcePath: d.Source, GuestBytes: f.Guest.DiskBytes[d.Target]}
	dp.Stored = f.Stored != nil && sameSource(f.Stored, f.Live, d.Target)
	at, managed := f.Managed[d.Target]
	if managed {
		dp.From, dp.SourcePool, dp.SourceVol = at.Pool+"/"+at.Volume, at.Pool, at.Volume
	} else if d.Kind == "file" {
		dp.SourceFile = d.Source
	}
	to, named := o.Disks[d.Target]
	if !named && o.ToPool != "" {
		to = DiskTarget{Pool: o.ToPool}
	}
	stays := managed && (to.Pool == "" || to.Pool == at.Pool && (to.Volume == "" || to.Volume == at.Volume))

	switch {
	case contains(o.Leave, d.Target):
		if named {
			r.add("disk %s is both to be left and to be copied: choose one", d.Target)
		}
		return left(dp, "left as asked")
	case d.Empty():
		return left(dp, "no medium")
	case d.Device == "floppy", d.ReadOnly && !managed, d.Device == "cdrom" && !managed:
		if named {
			r.add("disk %s is read-only and cannot be copied: take it out, or leave it", d.Target)
		}
		return left(dp, "read-only: must exist on the destination")
	case d.Transient:
		r.add("disk %s is transient, and libvirt does not migrate such disks: stop the guest instead", d.Target)
		return dp
	case stays:
		return planShared(p, r, f, dp)
	case to.Pool == "" && d.Kind == "network":
		return left(dp, "network disk: the destination reaches it by itself")
	case to.Pool == "":
		r.add("disk %s (%s) is in no pool that both hosts reach, and is not to be copied: say where it goes with --to-pool POOL or --disk %s=POOL (or --leave %s where the destination has the same data at the same path)",
			d.Target, d.Source, d.Target, d.Target)
		return dp
	}
	return planCopy(p, r, f, d, dp, to, taken)
}

func left(dp DiskPlan, why string) DiskPlan {
	dp.Action, dp.Why = Leave, why
	return dp
}

// planShared keeps a disk where it is: the destination must reach the pool.
func planShared(p *Plan, r *Refusal, f Facts, dp DiskPlan) DiskPlan {
	dp.Action, dp.Why = Shared, "both hosts reach it"
	dp.Pool, dp.Volume = dp.SourcePool, dp.SourceVol
	view, ok := f.Pools[dp.SourcePool]
	if !ok {
		r.add("disk %s is in pool %s, which the configuration of this host does not have", dp.Target, dp.SourcePool)
		return dp
	}
	if view.Remote != nil {
		r.add("disk %s is in pool %s, which host %s cannot use: %v", dp.Target, dp.SourcePool, p.DestHost, view.Remote)
	}
	return dp
}

// planCopy gives the disk a new volume.
func planCopy(p *Plan, r *Refusal, f Facts, d domainxml.Disk, dp DiskPlan, to DiskTarget, taken map[string]bool) DiskPlan {
	dp.Action, dp.Why, dp.Pool = Copy, "live, into a new volume", to.Pool
	view, ok := f.Pools[to.Pool]
	switch {
	case !ok:
		r.add("disk %s is to go to pool %s, which the configuration of this host does not have: `volbridge pool list` shows the pools", d.Target, to.Pool)
		return dp
	case !view.Provisions:
		r.add("disk %s is to go to pool %s, in which volbridge cannot create volumes", d.Target, to.Pool)
		return dp
	case view.Remote != nil:
		r.add("disk %s is to go to pool %s, which host %s cannot use: %v", d.Target, to.Pool, p.DestHost, view.Remote)
		return dp
	}
	for _, what := range d.Unkeepable {
		r.add("disk %s has %s, which a raw block disk cannot keep: remove it, or leave this disk out", d.Target, what)
	}
	if d.Shareable {
		r.add("disk %s is shareable: copying it would part it from the other guests that write it; move it by hand", d.Target)
	}
	if dp.GuestBytes <= 0 {
		r.add("libvirt does not say how large disk %s (%s) is, and a copy must not guess", d.Target, dp.From)
		return dp
	}
	dp.VolumeBytes = view.Round(dp.GuestBytes)
	if view.FreeBytes >= 0 && view.FreeBytes < dp.VolumeBytes {
		p.Warnings = append(p.Warnings, fmt.Sprintf("pool %s has %s free, and disk %s may grow to %s",
			to.Pool, units.FormatSize(view.FreeBytes), d.Target, units.FormatSize(dp.VolumeBytes)))
	}
	name, err := volumeName(view, f.Guest.Name, d.Target, to, taken)
	if err != nil {
		r.add("disk %s: %v", d.Target, err)
		return dp
	}
	dp.Volume = name
	taken[to.Pool+"/"+name] = true
	return dp
}

// maxNameTries bounds the search for a free volume name.
const maxNameTries = 100

// volumeName is the name asked for, which must be free, or the first free one
// of DOMAIN-TARGET, DOMAIN-TARGET-2, ….
func volumeName(view PoolView, domain, target string, to DiskTarget, taken map[string]bool) (string, error) {
	base := to.Volume
	if base == "" {
		base = domain + "-" + target
	}
	for i := 1; i <= maxNameTries; i++ {
		name := base
		if i > 1 {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		there, err := view.Exists(name)
		if errors.Is(err, pool.ErrInvalidName) && to.Volume == "" {
			return "", fmt.Errorf("%w: name the new volume with --disk %s=%s/VOLUME", err, target, to.Pool)
		}
		if err != nil {
			return "", err
		}
		if !there && !taken[to.Pool+"/"+name] {
			return name, nil
		}
		if to.Volume != "" {
			return "", fmt.Errorf("volume %s/%s exists already, and a migration writes only into volumes that it made: choose another name, or delete it", to.Pool, name)
		}
	}
	return "", fmt.Errorf("no free volume name from %s to %s-%d in pool %s: choose one with --disk %s=%s/VOLUME", base, base, maxNameTries, to.Pool, target, to.Pool)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
