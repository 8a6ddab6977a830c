// Package blockdev makes a volume appear as a block device on this host and
// takes it away again. A backend says how a volume can be reached
// (Connection); a transport of this package does it, reads from the device
// itself what it is and how large, and hands over only what it has seen.
package blockdev

import (
	"context"
	"errors"
	"time"
)

// Protocol names a transport.
type Protocol string

const (
	// Loop attaches a raw file as a loop device with direct I/O.
	Loop Protocol = "loop"
	// NVMeTCP reaches a namespace of an NVMe subsystem over TCP.
	NVMeTCP Protocol = "nvme-tcp"
	// DRBD uses the device of a DRBD resource that is up on this host, with a
	// disk of its own or without. Who may be Primary is the pool's business.
	DRBD Protocol = "drbd"
)

// Identity is what a device says of itself, in the form of its protocol:
// for Loop the volume's UUID, for NVMeTCP the namespace's NGUID, 32 lower-case
// hexadecimal digits, for DRBD "<resource>/<volume>" (DRBDIdentity).
type Identity string

// Connection says how this host reaches one volume.
type Connection struct {
	Protocol  Protocol
	Pool      string
	Volume    string
	Identity  Identity // what the device must say of itself
	SizeBytes int64    // what the device must have, exactly
	HostID    string   // pool.Host.ID of the host that attaches
	Path      string   // the device's stable path on this host, for domain XML
	File      string   // Loop: absolute path of the raw file
	NVMe      *NVMeTarget
	DRBD      *DRBDResource

	// Lasting: the host keeps the device when its grant is returned, because
	// the array shows the volume to a group of hosts for good, or because the
	// host has a replica of it.
	Lasting bool
}

// DRBDResource is one volume of a DRBD resource.
type DRBDResource struct {
	Resource string
	Volume   int
	// Minor of the device on this host where the pool knows it, else -1. It is
	// compared with what the kernel says and never trusted.
	Minor int
	// Arriving: the guest comes here by live migration, and its data must be
	// complete on this host's own disk if it has one. A host that is still
	// fetching the data is refused then.
	Arriving bool
	// Closed: another host has it open, and this one may not yet. Attach looks at
	// all that can be seen without opening it.
	Closed bool
}

// NVMeTarget is where a namespace is, and how to get there.
type NVMeTarget struct {
	// SubsystemNQN is the array's; HostNQN is how this host names itself to it.
	SubsystemNQN, HostNQN string
	Portals               []Portal
	// NSID of the namespace where the array says it, else 0. It is a hint: an
	// array may use it again for another volume. The identity decides.
	NSID uint32
	// CtrlLossTimeout is how long the kernel tries to reconnect a lost
	// controller (negative: for ever), FastIOFailTimeout how long I/O waits for
	// it (0: the kernel's default).
	CtrlLossTimeout, FastIOFailTimeout time.Duration
}

// Portal is an address at which a subsystem listens.
type Portal struct {
	Address string // an IP address
	Port    int    // NVMe/TCP: 4420
}

// Device is an attached, verified device.
type Device struct {
	Path      string // stable path, as Connection.Path
	Node      string // the kernel's node that Path leads to
	Identity  Identity
	SizeBytes int64 // read from the device
	// Warning is what a person should know although the device works, such as
	// a portal that does not answer; empty if there is nothing.
	Warning string
}

// Host is this machine as the transports see it; tests give it a tree of
// files.
type Host struct {
	Sys  string // "/sys"
	Dev  string // "/dev"
	Proc string // "/proc"
	Etc  string // "/etc"
	Run  string // "/run"
	// DRBDTools is the folder of drbdadm and drbdsetup; empty: where
	// distributions put them.
	DRBDTools string
	// DRBDNode says whether the device with this number is that minor of DRBD;
	// nil: if it is the kernel's. Only a lab whose DRBD is played has another.
	DRBDNode func(minor int, rdev uint64) (bool, error)
	// NVMe is the kernel's NVMe where files do not do.
	NVMe NVMe
}

// System is the machine that this process runs on.
func System() Host {
	return Host{Sys: "/sys", Dev: "/dev", Proc: "/proc", Etc: "/etc", Run: "/run", NVMe: kernelNVMe{}}
}

// What a caller tells apart.
var (
	// ErrWrongDevice: a device is there, but it is not the volume. It was not
	// handed over and not touched.
	ErrWrongDevice = errors.New("the device is not the volume")
	// ErrInUse: something on this host still has the device open.
	ErrInUse = errors.New("the device is in use")
	// ErrNotAttached: no device of this connection is on this host.
	ErrNotAttached = errors.New("not attached")
)

// Transport is one way to reach volumes. All calls are idempotent and end with
// ctx; a call that a hanging file server holds up ends with an error that says
// that it may still take effect. The caller keeps two calls for one volume on
// one host from running at once.
type Transport interface {
	// Attach makes the device appear at c.Path, verifies its identity and
	// size, and returns it. After an error nothing was handed over; what
	// Attach itself made is gone again, or the error says what is left.
	Attach(ctx context.Context, c Connection) (Device, error)

	// Find returns the device if it is attached and verified, else
	// ErrNotAttached or ErrWrongDevice. It changes nothing.
	Find(ctx context.Context, c Connection) (Device, error)

	// Detach flushes the device and takes it away. ErrInUse names what holds
	// it and means that it is still there. A device that is not there is no
	// error.
	Detach(ctx context.Context, c Connection) error
}

// Remover is a Transport whose devices go when the array takes the volume away,
// and only then: NVMe, DRBD. On the way out the caller flushes, ends the grant, and
// waits. Detach of such a transport is refused.
type Remover interface {
	// Flush makes sure that nothing on this host holds the device, and flushes
	// it. ErrInUse names what holds it. A device that is not there is no error.
	Flush(ctx context.Context, c Connection) error

	// Gone returns once the device has gone from this host, so that a later
	// volume is never taken for it. The array no longer shows it.
	Gone(ctx context.Context, c Connection) error
}

// Resizer is a Transport whose attached devices do not grow by themselves when
// their volume does.
type Resizer interface {
	// Grow makes the attached device as large as c.SizeBytes, which its volume
	// already is, verifies it and returns it. It is idempotent. A device that
	// is not on this host gives ErrNotAttached.
	Grow(ctx context.Context, c Connection) (Device, error)
}
