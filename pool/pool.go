// Package pool says what volbridge needs of a place that holds volumes.
//
// # The life of a grant
//
// A volume has a set of holders: the hosts that may reach it now. Grant and
// Revoke move one host in or out of the set; the mode of a grant says whom
// the host tolerates beside itself.
//
//	           Grant(Exclusive)                 Revoke(H)
//	{}  ───────────────────────────▶ {H}  ───────────────────▶ {}
//	                                  │
//	                                  │ Grant(Handover) by G, same owner
//	                                  ▼
//	                              {H, G}  ── Revoke(H) ──▶ {G}   arrived
//	                                      ── Revoke(G) ──▶ {H}   rolled back
//
//	{}, {A…}  ── Grant(Multi) ──▶ {A…, H}   only beside other Multi grants
//
// Exclusive is refused while any other host holds the volume. Handover is
// refused unless each other holder has the same owner (the domain's UUID) and
// none is Multi: a domain may arrive beside itself, never beside another one.
//
// What a host holds for an owner never stands in the way of that owner on that
// host, so a grant can be repeated, in another mode too. The other hosts are
// judged anew by the mode of each request, so that a grant left over from a
// handover does not let a cold start run beside the source; and a request
// never changes what other hosts hold. Two owners on one host tolerate each
// other only as two Multi holders do. GrantRequest.Conflicts is this rule.
//
// # Which host is which
//
// A host is its id; the name is for people and may change while a guest runs.
// But ids get copied: with a machine's image, with its configuration. So each
// grant carries the boot in which it was made. A holder with the id of the host
// that asks is that host only if it holds from this boot, or from the boot that
// the host's own record of the attachment names: after a reboot a domain starts
// again beside nobody but itself. Any other holder with the same id may be a
// clone of this host. It stands in the way in every mode, Handover and Multi
// too, and what it holds is not taken from it by Revoke with boot ids.
package pool

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/blockdev"
)

// AccessMode says whom a grant tolerates beside the host that asks.
type AccessMode string

const (
	// Exclusive tolerates no other host: a cold start or a restore.
	Exclusive AccessMode = "exclusive"
	// Handover tolerates the host that the same domain arrives from.
	Handover AccessMode = "handover"
	// Multi tolerates every other Multi holder: a <shareable/> disk.
	Multi AccessMode = "multi"
)

// Host is a machine that asks for access.
type Host struct {
	Name string // the kernel's host name, or host_name of the configuration; shown to people, and may change
	ID   string // unique and stable across boots: this alone is the host
	NQN  string // how the host names itself to NVMe targets; empty if it does not
}

// Owner is the domain on whose behalf a host asks.
type Owner struct {
	UUID string // lower case, with dashes
	Name string // shown to people
}

// Volume is what a backend knows of one volume.
type Volume struct {
	Pool      string
	Name      string            // as people and metadata name it, unique in the pool
	Identity  blockdev.Identity // what the device says of itself once attached
	SizeBytes int64             // as large as the device will be
	// CreationID is what CreateRequest.CreationID was; of a volume that the backend
	// did not create for us empty, or what tells it from others of its name.
	CreationID string
	Created    time.Time
}

// CreateRequest asks for a new, empty volume.
type CreateRequest struct {
	Name string
	// SizeBytes is the least size; the backend rounds up to its granularity.
	SizeBytes int64
	// CreationID is unique to the caller's intent and kept with the volume. It
	// settles a lost reply: Create with the same name and the same id returns
	// the volume that is there, with another id ErrExists.
	CreationID string
}

// GrantRequest asks that Host may reach the volume.
type GrantRequest struct {
	Volume string
	Host   Host
	Owner  Owner
	Mode   AccessMode
	// BootID is the boot of the host in which it asks.
	BootID string
	// PriorBootID is the boot that the host's own record of the same
	// attachment names; empty if there is none.
	PriorBootID string
	// Pending: the guest is only announced, and nobody opens the device yet. A
	// backend that has to let two hosts write for a Handover leaves that to the
	// same request without it. It is not stored.
	Pending bool
}

// RevokeRequest asks that Host may no longer reach the volume.
type RevokeRequest struct {
	Volume string
	Host   Host
	// BootIDs are the boots whose grant is meant; one of another boot may be
	// of a clone. Empty: of whatever boot, for who knows that no host with
	// this id uses the volume.
	BootIDs []string
}

// Holder is one host that may reach a volume now, for one owner; a host that
// holds it for two domains is two holders.
type Holder struct {
	Host  Host
	Owner Owner
	Mode  AccessMode
	Since time.Time
	// BootID is the boot in which the host asked last. All that one host holds
	// of a volume has the same.
	BootID string
}

// Connection says how a host reaches a volume; package blockdev does it.
type Connection = blockdev.Connection

// Backend is a pool of volumes. All methods may be called by several processes
// and hosts at once, return when ctx ends, and name the pool and the volume in
// their errors. A name that the pool cannot have gives ErrInvalidName and
// reaches nothing.
type Backend interface {
	// Lookup finds a volume by name, or returns ErrNotFound. Any other error
	// means that nothing is known: it must never be read as "does not exist".
	Lookup(ctx context.Context, name string) (Volume, error)

	// LookupPath finds the volume whose device has this path on some host
	// (the source of a domain's disk). It is called for every disk of every
	// managed domain, so a path that cannot be this pool's gives ErrNotFound
	// without asking anyone, CreationID may be left out, and SizeBytes may be
	// what the volume had when this host last asked.
	LookupPath(ctx context.Context, path string) (Volume, error)

	// List returns the volumes, sorted by name. With an error it returns those
	// of which it could read everything.
	List(ctx context.Context) ([]Volume, error)

	// Grant lets the host reach the volume and says how. It is idempotent: a
	// repeated grant stores the mode, the host's name and its boot anew.
	// After an error other than *HeldError the grant may or may not exist:
	// repeat the call, or Revoke. *HeldError means that nothing was changed.
	Grant(ctx context.Context, r GrantRequest) (Connection, error)

	// Revoke ends the host's access, for all owners. It is idempotent: revoking
	// what is not granted, or of a volume that is gone, succeeds. A grant of
	// another boot than those asked for stays and gives ErrOtherBoot. The
	// caller has detached the device where the transport asks for that first.
	// After ErrUnreachable without ErrMaybeDone the grant stands as it was; after
	// any other error it may or may not exist: repeat the call.
	Revoke(ctx context.Context, r RevokeRequest) error

	// Holders lists who may reach the volume, sorted by host name and owner.
	// It may show a request that is just being refused.
	Holders(ctx context.Context, volume string) ([]Holder, error)

	// Connection says how host would reach the volume, without granting it.
	// After a LookupPath SizeBytes may be what this host remembers, here and in
	// Grant; the same call again asks.
	Connection(ctx context.Context, volume string, host Host) (Connection, error)
}

// Provisioner is a Backend that makes and removes volumes.
type Provisioner interface {
	// Create makes a volume that reads as zeroes. See CreateRequest for what
	// repeating it does. After an error other than ErrExists, ErrInvalidName
	// or ErrNoSpace the volume may exist: repeat, or Lookup and compare
	// CreationID, then Delete.
	Create(ctx context.Context, r CreateRequest) (Volume, error)

	// Resize grows the volume to at least sizeBytes; shrinking is refused with
	// ErrShrink. It is idempotent.
	Resize(ctx context.Context, name string, sizeBytes int64) (Volume, error)

	// Delete removes the volume and its data for good; a held volume gives
	// *HeldError. It is idempotent: a volume that is gone is no error. Where
	// creationID is not empty, a volume with another one is left alone and
	// gives ErrNotOurs.
	Delete(ctx context.Context, name, creationID string) error
}

// Capacity of a pool, in bytes.
type Capacity struct {
	TotalBytes, FreeBytes int64
}

// CapacityReporter is a Backend that knows how much fits.
type CapacityReporter interface {
	Capacity(ctx context.Context) (Capacity, error)
}

// Held is one volume that a host holds.
type Held struct {
	Volume string
	Holder Holder
}

// HeldLister is a Backend that can say what one host holds without being asked
// about each volume.
type HeldLister interface {
	// HeldBy lists what the host with this id holds, of whatever boot, sorted
	// by volume.
	HeldBy(ctx context.Context, hostID string) ([]Held, error)
}

// Rounder is a Backend whose volumes have a size granularity.
type Rounder interface {
	// RoundSize returns the size that a volume of at least sizeBytes would
	// have.
	RoundSize(sizeBytes int64) int64
}

// Checker is a Backend that can say whether it would work on this host,
// without changing anything.
type Checker interface {
	Check(ctx context.Context) error
}

// HostChecker is a Backend that has to know a host before it can serve it.
type HostChecker interface {
	// CheckHost says whether the storage knows the host, or may be told of it
	// when it first asks for a volume. It changes nothing.
	CheckHost(ctx context.Context, h Host) error
}

// Ready asks a backend whether it would work on this host; one that cannot say
// it has to list its volumes. Nothing is changed.
func Ready(ctx context.Context, b Backend, h Host) error {
	var errs []error
	if c, ok := b.(Checker); ok {
		errs = append(errs, c.Check(ctx))
	} else {
		_, err := b.List(ctx)
		errs = append(errs, err)
	}
	if c, ok := b.(HostChecker); ok && errs[0] == nil {
		errs = append(errs, c.CheckHost(ctx, h))
	}
	return errors.Join(errs...)
}

// Initialiser is a Backend whose place must be made a pool before its first
// use, so that one that merely looks empty, such as a mount point on which
// nothing is mounted, is never taken for a pool. Until then every call that
// concerns a volume that the pool could have gives ErrNoPool, and Check fails.
type Initialiser interface {
	// Init makes an empty place a pool. It is idempotent: a pool that is there
	// stays as it is, with its volumes. A place that holds anything else gives
	// ErrNoPool and is left alone. After any other error the place may be a
	// pool or not: repeat the call.
	Init(ctx context.Context) error
}

// Driver makes backends of one type from the configuration.
type Driver struct {
	// Type is the value of `type` in [pool.NAME].
	Type string
	// Settings returns a pointer to a new struct with `toml` tags that holds
	// the defaults; the configuration is decoded into it, strictly.
	Settings func() any
	// Check reports every mistake in the settings that decoding cannot see:
	// key → what is wrong with it.
	Check func(settings any) map[string]string
	// Schemes of the URLs that mean a pool of this type, and FromURL what one of
	// them says; nil where there is no URL form.
	Schemes []string
	FromURL func(u URL) (Described, error)
	// Open makes the backend. It asks nobody: an array that is down must not
	// keep other pools from working. What is not worth an error goes to log,
	// which is never nil.
	Open func(name string, settings any, log *logrus.Entry) (Backend, error)
}
