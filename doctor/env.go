package doctor

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/volbridge/volbridge/hooks"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/migrate"
	"github.com/volbridge/volbridge/pool"
)

// System is the machine: its files, its programs, its network, its clock.
type System interface {
	// Path is where this process sees a file of the host.
	Path(path string) string
	// Exec runs a program and returns what it printed; the error has what it
	// complained about.
	Exec(ctx context.Context, name string, args ...string) (string, error)
	// Dial makes a TCP connection and ends it.
	Dial(ctx context.Context, address string) error
	// ServerTime is the time that a web server says it is, and this host's at
	// that moment.
	ServerTime(ctx context.Context, url string) (theirs, ours time.Time, err error)
	// ClockKept says whether something keeps the kernel's clock right.
	ClockKept() (bool, error)
}

// Libvirt is one daemon.
type Libvirt interface {
	LibVersion(ctx context.Context) (uint32, error)
	// Guests counts the domains, which needs the lock of each.
	Guests(ctx context.Context) (int, error)
	AskHost(ctx context.Context) (hooks.ProbeAnswer, error)
	AskPools(ctx context.Context, pools []string) (hooks.ProbeAnswer, error)
}

// Env is what the checks look at. What is not given is not there.
type Env struct {
	System

	Build string // of this command; see package buildinfo

	// Config is complete; without a usable file it is the default, and
	// ConfigErr says why.
	Config    *config.Config
	ConfigErr error
	Host      pool.Host
	HostErr   error
	Open      func(name string) (pool.Backend, error)

	// Local and Remote connect to the daemons; Peer is the URI of Remote, "" if
	// there is none.
	Local  func(ctx context.Context) (Libvirt, error)
	Peer   string
	Remote func(ctx context.Context, uri string) (Libvirt, error)
	// NoAnswer says of an error of AskHost that libvirt answered and no hook
	// did.
	NoAnswer func(err error) bool

	// Attachments are the records of this host.
	Attachments func(ctx context.Context) ([]state.Attachment, error)
	// Leftovers is a dry run of recovery that looks into these pools.
	Leftovers func(ctx context.Context, pools []string) ([]migrate.Finding, error)

	seen sync.Map // what several checks ask is asked once
}

// once returns what f says, asked once for all checks of a run. A check whose
// time ends while another asks gives up alone.
func once[T any](ctx context.Context, e *Env, key string, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	type answer struct {
		done chan struct{}
		v    T
		err  error
	}
	made := &answer{done: make(chan struct{})}
	have, others := e.seen.LoadOrStore(key, made)
	a := have.(*answer)
	if !others {
		go func() {
			defer close(a.done)
			// Not the asking check's context: others wait for the answer too.
			ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, noAnswerWithin(limit))
			defer cancel()
			a.v, a.err = within(ctx, f)
		}()
	}
	select {
	case <-a.done:
		return a.v, a.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

// within gives up on what does not heed its context.
func within[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := f(ctx)
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

func (e *Env) exists(path string) bool {
	_, err := os.Stat(e.Path(path))
	return err == nil
}

// read returns a small file without the blanks around it, "" if it cannot be
// read.
func (e *Env) read(path string) string {
	data, err := os.ReadFile(e.Path(path))
	if err != nil {
		return ""
	}
	return trim(data)
}

// systemd says whether it runs this host's services.
func (e *Env) systemd() bool { return e.exists("/run/systemd/system") }

// needs says whether a pool of one of these types is configured.
func (e *Env) needs(types ...string) bool {
	for _, p := range e.Config.Pools {
		for _, t := range types {
			if p.Type == t {
				return true
			}
		}
	}
	return false
}
