package migrate

import (
	"context"
	"errors"
	"time"
)

// ErrNoGuest means that the daemon knows no such domain. Any other error means
// that nothing is known.
var ErrNoGuest = errors.New("no such domain")

// ErrReplaced means that there is another file at the path by now.
var ErrReplaced = errors.New("another file has come to its path since")

// HostInfo is what a libvirt daemon says of its host.
type HostInfo struct {
	Name string // host name
	UUID string // libvirt's host UUID; libvirt refuses a migration between equal ones
}

// Guest is a domain as its daemon describes it.
type Guest struct {
	UUID       string
	Name       string
	ID         int // libvirt's number of this run of it; of no meaning unless Active
	Active     bool
	Persistent bool
	LiveXML    string // migratable, secure; empty unless Active
	StoredXML  string // inactive, migratable, secure; empty unless Persistent
	Snapshots  int
	Job        string            // a running job on the whole domain, "" if none
	BlockJobs  map[string]string // target → running block job
	DiskBytes  map[string]int64  // target → size that the guest sees; absent if unknown
}

// Whereabouts is what one daemon says of a domain's running state.
type Whereabouts struct {
	Defined bool
	Active  bool
	// Switching says that the guest stands still because it is arriving,
	// leaving, or starting up: an Active domain that does not run yet, or no
	// longer.
	Switching bool
	// ForMigration says of a Switching guest that it is paused for migration: it
	// does not start up, and is not in post-copy, where both hosts are needed.
	ForMigration bool
	Job          string // as Guest.Job
	State        string // libvirt's words, for people
}

// The Job of a guest that libvirt is moving, on the one host and on the other.
const (
	JobMigrationOut = "outgoing migration"
	JobMigrationIn  = "incoming migration"
)

// Runs says whether the guest lives on this host: it executes, or stands
// paused by its administrator.
func (w Whereabouts) Runs() bool { return w.Active && !w.Switching }

// Tuning is what libvirt is told about how to move; the zero value is
// libvirt's default. The names are virsh's.
type Tuning struct {
	PeerToPeer            bool
	UndefineSource        bool
	BandwidthMiBps        uint64
	MigrateURI            string
	ListenAddress         string
	DisksPort             int
	DisksURI              string
	TLS                   bool
	TLSDestination        string
	AutoConverge          bool
	AutoConvergeInitial   int
	AutoConvergeIncrement int
	PostCopy              bool // allow, and switch to it after the first pass over memory
	Parallel              bool
	ParallelConnections   int
	SynchronousWrites     bool
	DestName              string
}

// Call is one migration as libvirt is told to do it.
type Call struct {
	UUID       string
	DestURI    string
	DestXML    string
	PersistXML string // empty: a transient domain
	CopyDisks  []string
	Tuning     Tuning
}

// DiskProgress is how far the copy of one disk is.
type DiskProgress struct {
	Target     string `json:"target"`
	DoneBytes  int64  `json:"done_bytes"`
	TotalBytes int64  `json:"total_bytes"`
}

// Progress is a sample of a running migration.
type Progress struct {
	Elapsed         time.Duration  `json:"-"`
	Disks           []DiskProgress `json:"disks,omitempty"`
	MemoryDoneBytes int64          `json:"memory_done_bytes"`
	MemoryLeftBytes int64          `json:"memory_left_bytes"`
	MemoryAllBytes  int64          `json:"memory_total_bytes"`
	MemoryPass      int            `json:"memory_pass"`
}

// Hypervisor is one libvirt daemon, as far as a migration needs it.
type Hypervisor interface {
	// URI is what was connected to.
	URI() string
	// Host describes the daemon's host.
	Host(ctx context.Context) (HostInfo, error)
	// Resolve finds a domain's UUID and name by name, UUID or id, or returns
	// ErrNoGuest.
	Resolve(ctx context.Context, ref string) (uuid, name string, err error)
	// Guest describes a domain found like that.
	Guest(ctx context.Context, ref string) (Guest, error)
	// Where says whether the domain is defined and active here. A domain that
	// is unknown is no error.
	Where(ctx context.Context, uuid string) (Whereabouts, error)
	// Probe asks the volbridge on that host whether it can serve the pools;
	// like is a guest that the host could run. Nothing is started.
	Probe(ctx context.Context, like Guest, pools []string) error
	// Define replaces the stored definition of a domain.
	Define(ctx context.Context, xml string) error
	// LiveXML returns the running definition; an error if the domain does not run.
	LiveXML(ctx context.Context, uuid string) (string, error)
	// Migrate moves the domain to dest and returns when libvirt has finished
	// or given up. When ctx ends the job is aborted, and Migrate still waits
	// for libvirt's last word, for a while: after an error the job may go on,
	// and Where tells. watch gets samples while it runs.
	Migrate(ctx context.Context, dest Hypervisor, call Call, watch func(Progress)) error
	// UsersOf names the domains of this daemon that refer to a disk path,
	// running or stored.
	UsersOf(ctx context.Context, path string) ([]string, error)
	// FileIdentity tells the disk image at a path of this daemon's host from
	// every other that is ever there, whatever the guest writes into it. It is
	// "" where nothing does: the host is another one, say.
	FileIdentity(ctx context.Context, path string) (string, error)
	// RemoveFile removes a disk image of this daemon's host. It returns
	// ErrReplaced for a file that has not this identity; "" is any. A file that
	// has gone is no error.
	RemoveFile(ctx context.Context, path, identity string) error
	Close() error
}
