// Package machines runs a storage array and KVM hosts as emulated machines
// with kernels of their own, so that NVMe/TCP, udev and libvirt are the real
// ones. It needs root, and the image that scripts/machine-image.sh makes; it
// needs no hardware virtualisation.
//
// # Network
//
// Every machine has three interfaces, each on a bridge of its own. eth0
// (10.78.0.0/24) carries everything but storage: names resolve to it, libvirt
// and migrations use it. eth1 (10.78.1.0/24) and eth2 (10.78.2.0/24) are the
// two portals of an array and the way to them; a machine can be cut off from
// either. The bridges are in a network namespace of the lab.
//
// # Processes
//
//	test process
//	└─ keeper       own session; network and mount namespace
//	   ├─ QEMU of array
//	   └─ QEMU of kvm01 …
//
// The keeper lives until its standard input ends. Only the process that called
// Start holds the other end, so the lab goes with it, even when it is killed.
//
// # A machine
//
// Its disk is a copy-on-write layer over the image and lives as long as the
// lab: Reset and Shutdown keep it. Programs are run by an agent, which the
// initramfs brings along and which systemd starts.
package machines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/internal/enter"
	hosts "github.com/volbridge/volbridge/lab/internal/keeper"
)

// Options describe a lab of machines.
type Options struct {
	// Dir is the scratch directory, "" for a new one; Close removes it.
	Dir string
	// LogDir is where consoles and journals are written and stay, "" for a
	// directory in Dir, which goes with it.
	LogDir   string
	Machines []Machine
	// Program is the built command of lab/machines/cmd/machines, "" to build it.
	Program string
	// Verbose is told what happens, nil for nothing.
	Verbose io.Writer
}

// Machine describes one machine.
type Machine struct {
	Name string // host name, such as kvm01
	// KVM says that libvirtd runs from each boot on.
	KVM bool
	// AppArmor says that the kernel enforces it, with Debian's profiles.
	AppArmor  bool
	MemoryMiB int // 1536 if not set
	// Files are there before the first boot: absolute path in the machine.
	Files map[string]lab.File
}

// Lab is a running lab.
type Lab struct {
	dir, logDir string
	image       string
	program     string
	verbose     io.Writer
	started     time.Time

	keeper    *exec.Cmd
	keeperErr bytes.Buffer // complete once the keeper has ended
	network   string       // as the network namespace is called in /proc
	requests  io.WriteCloser
	answers   *json.Decoder
	mu        sync.Mutex // one request at a time

	greetings *greetings
	serials   serials
	nodes     []*Node
	closeOnce sync.Once
	closeErr  error
}

// Start boots the machines side by side and returns when each can run
// programs, KVM hosts when libvirtd answers. After an error nothing is left but
// the logs.
func Start(ctx context.Context, o Options) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("start machines: a network of their own needs root")
	}
	l, err := prepare(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start machines: %w", err)
	}
	if err := l.up(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start machines: %w", err), l.Close())
	}
	return l, nil
}

func (l *Lab) up(ctx context.Context) error {
	if err := l.startKeeper(ctx); err != nil {
		return err
	}
	var err error
	if l.greetings, err = l.listenForGreetings(); err != nil {
		return err
	}
	errs := make([]error, len(l.nodes))
	var wg sync.WaitGroup
	for i, n := range l.nodes {
		wg.Go(func() { errs[i] = n.Boot(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Dir is the lab's scratch directory.
func (l *Lab) Dir() string { return l.dir }

// LogDir has a directory for each machine.
func (l *Lab) LogDir() string { return l.logDir }

// Nodes are the lab's machines in the order of the options.
func (l *Lab) Nodes() []*Node { return l.nodes }

// Node returns the machine of this name; a name that the lab was not started
// with is the caller's mistake and panics.
func (l *Lab) Node(name string) *Node {
	for _, n := range l.nodes {
		if n.name == name {
			return n
		}
	}
	panic("machines: there is no machine " + name)
}

// Command prepares a program that runs outside of the machines but in their
// network, where their addresses and names are reachable.
func (l *Lab) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, l.program, append([]string{enter.Network, l.pid(), name}, args...)...)
}

// PID is the keeper's process. Its network and mount namespaces are the lab's.
func (l *Lab) PID() int { return l.keeper.Process.Pid }

func (l *Lab) pid() string { return strconv.Itoa(l.PID()) }

// Close ends every machine and removes all that the lab has made but the logs
// in Options.LogDir. It may be called again.
func (l *Lab) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Lab) close() error {
	if l.keeper == nil {
		return os.RemoveAll(l.dir)
	}
	l.say("closing")
	// The end of its input is all that the keeper waits for.
	ended := errors.Join(l.requests.Close(), l.keeper.Wait())
	listeners := errors.Join(l.greetings.close(), l.serials.close())
	if ended != nil {
		// Somebody may have killed it; the machines are gone then, the rest is not.
		ended = fmt.Errorf("close machines: keeper: %w: %s", errors.Join(ended, hosts.Clean(l.dir, l.network)), &l.keeperErr)
	}
	return errors.Join(ended, listeners)
}

func (l *Lab) say(format string, args ...any) {
	if l.verbose != nil {
		fmt.Fprintf(l.verbose, "machines: %5.1f s: %s\n", time.Since(l.started).Seconds(), fmt.Sprintf(format, args...))
	}
}

func (l *Lab) hostsFile() string { return filepath.Join(l.dir, "hosts") }
