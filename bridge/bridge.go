// Package bridge attaches the disks of a domain to this host and releases
// them: the use case that the hook, the commands and the migration share.
//
// The order is always the same. On the way in: the intent is recorded, the
// pool grants this host the volume, the device is attached and verified, its
// size is compared with what the guest needs, and the result is recorded. On
// the way out: the intent is recorded, the device is flushed and taken away,
// the grant is returned, the record is removed. So a crash leaves a record of
// what may exist, and each call may be repeated.
package bridge

import (
	"context"
	"io"
	"runtime"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/pool"
)

// Bridge attaches and releases disks on one host. It may be used by several
// goroutines at once.
type Bridge struct {
	Host    pool.Host
	BootID  string // records with another boot id are of devices that are gone
	Pools   Pools
	Store   Store
	Locks   Locks
	Devices Devices
	Hints   Hints
	Log     *logrus.Entry // nil: silent

	// UndoTimeout is how long taking back may last once a call failed; it
	// does not end with the call's context. 0 is 15 s.
	UndoTimeout time.Duration
	// DeviceTimeout is how long one device may take to appear or to go.
	// 0 is 15 s.
	DeviceTimeout time.Duration
	// Attached is told how long each device took to be there; nil for nobody.
	Attached func(p blockdev.Protocol, took time.Duration, err error)
	// Stored says whether the stored definition of a domain has a token in it; nil
	// where no domain is started.
	Stored func(domain, token string) (bool, error)
	// Parallel is how many disks are worked on at once. 0 is twice the number
	// of processors, but from 4 to 16: on few of them more threads only get in
	// each other's way.
	Parallel int
}

// Pools are the configured pools of this host, opened when first used.
type Pools interface {
	// Names lists them in the order of the configuration.
	Names() []string
	// Open returns the backend. Its error for a name that is not configured
	// wraps ErrNoPool and says on which host and in which file.
	Open(name string) (pool.Backend, error)
}

// Locks keep several processes of this host apart. The order is: the domain,
// then a volume, then its device, then whatever a backend locks inside.
type Locks interface {
	Domain(ctx context.Context, uuid string) (release func() error, err error)
	Volume(ctx context.Context, pool, volume string) (release func() error, err error)
	Device(ctx context.Context, path string) (release func() error, err error)
}

// Devices are the transports of this host; see blockdev.For.
type Devices interface {
	For(p blockdev.Protocol) (blockdev.Transport, error)
	// Present says whether anything is at a device path of this host.
	Present(path string) bool
}

// Hints tell the hook, without opening the state file, that a domain may have
// records. A hint is there before the first record and goes after the last.
type Hints interface {
	Mark(uuid string) error
	Clear(uuid string) error
}

func (b *Bridge) log() *logrus.Entry {
	if b.Log != nil {
		return b.Log
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	return logrus.NewEntry(silent)
}

// undoContext outlives the call that failed, for a bounded time.
func (b *Bridge) undoContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), orDefault(b.UndoTimeout, 15*time.Second))
}

func (b *Bridge) deviceContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, orDefault(b.DeviceTimeout, 15*time.Second))
}

func (b *Bridge) parallel() int {
	return orDefault(b.Parallel, min(max(4, 2*runtime.NumCPU()), 16))
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}
