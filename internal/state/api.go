// Package state keeps what volbridge did on this host, to undo it: which
// disks are attached and granted, and how far each migration got. It is an
// SQLite file that several processes use at once; it holds no secrets.
package state

import "time"

// Phase is how far an attachment got. What is about to be tried is stored
// before it is tried, so that a crash is recognisable.
type Phase string

const (
	// Attaching: grant and device are being made; either may exist.
	Attaching Phase = "attaching"
	// Pending: ready for a domain that arrives by migration; `prepare` has
	// not confirmed it yet.
	Pending Phase = "pending"
	// Held: a domain is being started with it, or runs.
	Held Phase = "held"
	// Releasing: device and grant are being taken back; either may exist.
	Releasing Phase = "releasing"
)

// Attachment is one volume on this host for one domain. Its key is
// (DomainUUID, Pool, Volume).
type Attachment struct {
	DomainUUID string
	DomainName string
	Target     string
	Pool       string
	Volume     string
	Mode       string // pool.AccessMode
	Phase      Phase
	Path       string // device path that is to be handed over, or was; empty: not known
	Arrival    string // one-time token of an incoming migration, empty after prepare
	Device     []byte // JSON: how the device was reached, once known; no secrets
	Stopped    string // why the guest stopped here, as far as libvirt said; empty while it runs
	BootID     string // of the boot in which this was written
	Updated    time.Time
}

// MigrationState is how far a migration got.
type MigrationState string

const (
	Planned   MigrationState = "planned"   // nothing done yet
	Preparing MigrationState = "preparing" // volumes are being created
	Moving    MigrationState = "moving"    // libvirt was told to migrate
	Arrived   MigrationState = "arrived"   // seen running on the destination: the point of no return
	Finished  MigrationState = "finished"  // everything asked for is done
	Undoing   MigrationState = "undoing"   // going back
	Undone    MigrationState = "undone"    // everything is as before
)

// Migration is one run of the migrate command.
type Migration struct {
	ID         int64
	DomainUUID string
	DomainName string
	SourceURI  string
	DestURI    string
	State      MigrationState
	BootID     string
	Started    time.Time
	Updated    time.Time
	Detail     []byte // JSON: what resuming needs; no secrets
}

// StepStatus of a step of a migration.
type StepStatus string

const (
	Trying StepStatus = "trying"
	Done   StepStatus = "done"
	Undo   StepStatus = "undone"
)

// Step is one act of a migration together with what undoes it.
type Step struct {
	MigrationID int64
	N           int    // order, from 0
	Kind        string // "create-volume", "migrate", …
	Args        []byte // JSON: what the act and its inverse need
	Status      StepStatus
	Updated     time.Time
}

// Key names one attachment.
type Key struct {
	DomainUUID string
	Pool       string
	Volume     string
}

// Key of the attachment.
func (a Attachment) Key() Key { return Key{a.DomainUUID, a.Pool, a.Volume} }
