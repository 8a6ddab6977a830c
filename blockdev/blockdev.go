// Package blockdev makes a volume appear as a block device on this host and
// takes it away again. A backend says how a volume can be reached
// (Connection); a transport of this package does it, reads from the device
// itself what it is and how large, and hands over only what it has seen.
package blockdev

import (
	"context"
	"errors"
)

// Protocol names a transport.
type Protocol string

// Loop attaches a raw file as a loop device with direct I/O.
const Loop Protocol = "loop"

// Identity is what a device says of itself, in the form of its protocol:
// for Loop the volume's UUID.
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
}

// Device is an attached, verified device.
type Device struct {
	Path      string // stable path, as Connection.Path
	Node      string // the kernel's node that Path leads to
	Identity  Identity
	SizeBytes int64 // read from the device
}

// Host is this machine as the transports see it; tests give it a tree of
// files.
type Host struct {
	Sys  string // "/sys"
	Dev  string // "/dev"
	Proc string // "/proc"
}

// System is the machine that this process runs on.
func System() Host { return Host{Sys: "/sys", Dev: "/dev", Proc: "/proc"} }

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

// Resizer is a Transport whose attached devices do not grow by themselves when
// their volume does.
type Resizer interface {
	// Grow makes the attached device as large as c.SizeBytes, which its volume
	// already is, verifies it and returns it. It is idempotent. A device that
	// is not on this host gives ErrNotAttached.
	Grow(ctx context.Context, c Connection) (Device, error)
}
