// Package lab runs KVM hosts on one machine: each host is a set of namespaces
// with a real libvirtd and real QEMUs in software emulation, its own root file
// system, /dev, network address, host name and boot. It needs root.
//
// # Processes
//
//	test or demo process
//	└─ keeper                  own session; network namespace with the bridge
//	   ├─ init of kvm01        process 1 of its PID namespace; reaps
//	   │  ├─ libvirtd
//	   │  └─ QEMU …
//	   └─ init of kvm02 …
//
// The keeper lives until its standard input ends. Only the process that called
// Start holds the other end, so the lab goes with it, even when it is killed:
// the kernel ends the hosts with their keeper, and the keeper then unbinds loop
// devices whose files are in the lab and removes the lab's directory.
//
// # What a host sees
//
// Its root is an overlay over the machine's root or over another release's.
// /etc/libvirt, /etc/volbridge, /var/lib/libvirt, /var/lib/volbridge,
// /var/log/libvirt, /var/cache/libvirt and /run are private directories, /dev
// is private apart from the loop devices, which are the kernel's and so common
// to all. The lab's directory, the temporary directory and the source tree are
// there at the same path as on the machine.
//
// # Arrays
//
// Package arrays adds stand-ins of storage arrays to a lab. Their NVMe is
// played with loop devices, for which the commands on the hosts are built with
// the tag lab; package nvmesim says how they then differ from the shipped ones.
package lab

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

	"github.com/volbridge/volbridge/lab/internal/enter"
	"github.com/volbridge/volbridge/lab/internal/keeper"
	"github.com/volbridge/volbridge/lab/internal/wire"
)

// Options describe a lab.
type Options struct {
	// Dir is the scratch directory, "" for a new one; Close removes it. It
	// must be on a file system that knows direct I/O (not tmpfs on older
	// kernels), and short: sockets lie in it.
	Dir   string
	Hosts []HostOptions
	// Share lists further directories that the hosts see at the same path.
	Share []string
	// Program is the built command of lab/cmd/lab, "" to build it.
	Program string
	// Verbose is told what happens, nil for nothing.
	Verbose io.Writer
}

// HostOptions describe one host.
type HostOptions struct {
	Name string // host name, such as kvm01
	// Release is "" for this machine's own, or the name of a cached root
	// file system, such as Trixie.
	Release string
	// HookDir lists the scripts of /etc/libvirt/hooks/qemu.d: name there →
	// executable on the machine, which is copied.
	HookDir map[string]string
	// Files are written before libvirtd starts: absolute path on the host.
	Files map[string]File
}

// File is the contents of a file on a host.
type File struct {
	Data []byte
	Mode os.FileMode // 0 means 0644
}

// Lab is a running lab.
type Lab struct {
	dir     string
	cache   string
	program string
	share   []string
	verbose io.Writer

	keeper    *exec.Cmd
	keeperErr bytes.Buffer // complete once the keeper has ended
	network   string       // as keeper.Network says
	requests  io.WriteCloser
	answers   *json.Decoder
	mu        sync.Mutex // one request at a time

	hosts     []*Host
	closeOnce sync.Once
	closeErr  error
}

// Start makes the lab and returns when libvirtd answers on every host. After
// an error nothing is left.
func Start(ctx context.Context, o Options) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("start lab: namespaces, loop devices and libvirtd need root")
	}
	l, err := prepare(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start lab: %w", err)
	}
	if err := l.up(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start lab: %w", err), l.Close())
	}
	return l, nil
}

// up starts the keeper and all hosts side by side.
func (l *Lab) up(ctx context.Context, o Options) error {
	if err := l.startKeeper(ctx); err != nil {
		return err
	}
	errs := make([]error, len(l.hosts))
	var wg sync.WaitGroup
	for i, h := range l.hosts {
		wg.Go(func() { errs[i] = h.firstBoot(ctx, o.Hosts[i]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Dir is the lab's directory, which all hosts see at the same path.
func (l *Lab) Dir() string { return l.dir }

// SharedDir is an empty directory on storage that all hosts share.
func (l *Lab) SharedDir() string { return filepath.Join(l.dir, "shared") }

// Hosts are the lab's hosts in the order of the options.
func (l *Lab) Hosts() []*Host { return l.hosts }

// Host returns the host of this name; a name that the lab was not started
// with is the caller's mistake and panics.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.hosts {
		if h.name == name {
			return h
		}
	}
	panic("lab: there is no host " + name)
}

// PID is the keeper's process on the machine. Its network and mount namespaces
// are the lab's.
func (l *Lab) PID() int { return l.keeper.Process.Pid }

// Command prepares a program that runs on the machine but in the lab's
// network, where the hosts' addresses and names are reachable.
func (l *Lab) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return l.enter(ctx, enter.Network, l.PID(), name, args)
}

func (l *Lab) enter(ctx context.Context, how string, pid int, name string, args []string) *exec.Cmd {
	return exec.CommandContext(ctx, l.program, append([]string{how, strconv.Itoa(pid), name}, args...)...)
}

// Close ends every host and removes all that the lab has made. It may be
// called again.
func (l *Lab) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Lab) close() error {
	saved := l.saveCapabilities()
	if l.keeper == nil {
		return errors.Join(saved, os.RemoveAll(l.dir))
	}
	l.say("closing")
	// The end of its input is all that the keeper waits for.
	ended := errors.Join(l.requests.Close(), l.keeper.Wait())
	if ended == nil {
		return saved
	}
	// Somebody may have killed it; the hosts are gone then, the rest is not.
	return fmt.Errorf("close lab: keeper: %w: %s", errors.Join(ended, keeper.Clean(l.dir, l.network), saved), &l.keeperErr)
}

func (l *Lab) say(format string, args ...any) {
	if l.verbose != nil {
		fmt.Fprintf(l.verbose, "lab: "+format+"\n", args...)
	}
}

func (l *Lab) hostSpec(h *Host) wire.HostSpec {
	return wire.HostSpec{
		Name:    h.name,
		Index:   h.index,
		Address: h.address + "/24",
		Base:    h.base,
		LabDir:  l.dir,
		HostDir: h.dir,
		LogDir:  h.logDir,
		BootID:  newUUID(),
		Share:   l.share,
	}
}
