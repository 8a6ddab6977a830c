package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/volbridge/volbridge/lab/internal/enter"
	"github.com/volbridge/volbridge/lab/internal/wire"
)

// Host is one KVM host of a lab.
type Host struct {
	lab     *Lab
	index   int
	name    string
	release string
	base    string // root file system that its own is laid over
	dir     string // private directories
	logDir  string
	address string
	pid     int // of its init on the machine, 0 while it is down
}

func (l *Lab) newHost(index int, o HostOptions) (*Host, error) {
	base, err := l.base(o.Release)
	if err != nil {
		return nil, err
	}
	h := &Host{
		lab: l, index: index, name: o.Name, release: o.Release, base: base,
		dir:     filepath.Join(l.dir, "hosts", o.Name),
		logDir:  filepath.Join(l.dir, "logs", o.Name),
		address: subnet + strconv.Itoa(firstHost+index),
	}
	if err := errors.Join(os.MkdirAll(h.dir, 0o755), os.MkdirAll(h.logDir, 0o755)); err != nil {
		return nil, err
	}
	return h, h.loadCapabilities()
}

// PID is the host's process 1 as the machine numbers it, 0 while it is down.
func (h *Host) PID() int { return h.pid }

// Name is the host's name, known to all hosts of the lab.
func (h *Host) Name() string { return h.name }

// Address is the host's IPv4 address in the lab's network.
func (h *Host) Address() string { return h.address }

// URI reaches the host's libvirtd from the other hosts and from Lab.Command.
func (h *Host) URI() string { return "qemu+tcp://" + h.name + "/system" }

// SocketURI reaches the host's libvirtd from any process of the machine.
func (h *Host) SocketURI() string {
	return "qemu+unix:///system?socket=" + filepath.Join(h.dir, "run/libvirt/libvirt-sock")
}

// LogDir holds the host's logs (its /var/log/libvirt), as the machine sees it.
func (h *Host) LogDir() string { return h.logDir }

// ImagesDir is the host's own /var/lib/libvirt/images as the machine sees it.
func (h *Host) ImagesDir() string { return filepath.Join(h.dir, "var-lib-libvirt/images") }

// Path is where the machine sees the host's file at path while the host is up.
// Absolute symbolic links on the way lead astray: they are the machine's there.
func (h *Host) Path(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", h.pid, path)
}

// Command prepares a program that runs on the host as root. Killing it kills
// the program, and its exit status is the program's.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return h.lab.enter(ctx, enter.Outside, h.pid, name, args)
}

// Run runs a program on the host and returns what it said on both outputs; the
// error has it too.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := h.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s %s: %w\n%s", h.name, name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// WriteFile writes a file on the host, with the directories above it.
func (h *Host) WriteFile(path string, data []byte, mode fs.FileMode) error {
	outside := h.Path(path)
	if err := os.MkdirAll(filepath.Dir(outside), 0o755); err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	if err := os.WriteFile(outside, data, mode); err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	return os.Chmod(outside, mode)
}

// StartDaemon starts libvirtd and returns when it is ready.
func (h *Host) StartDaemon(ctx context.Context) error { return h.daemon(ctx, "start") }

// StopDaemon ends libvirtd in an orderly way; guests live on.
func (h *Host) StopDaemon(ctx context.Context) error { return h.daemon(ctx, "stop") }

// KillDaemon kills libvirtd; guests live on.
func (h *Host) KillDaemon(ctx context.Context) error { return h.daemon(ctx, "kill") }

// RestartDaemon stops libvirtd and starts it; guests live on.
func (h *Host) RestartDaemon(ctx context.Context) error { return h.daemon(ctx, "restart") }

func (h *Host) daemon(ctx context.Context, order string) error {
	_, err := h.Run(ctx, h.lab.program, "daemon", order)
	return err
}

// Crash ends the host as a power cut does: every process at once, and its loop
// devices are gone. What it wrote to its disks stays for the next Boot.
func (h *Host) Crash(ctx context.Context) error {
	if _, err := h.lab.ask(ctx, wire.Request{Op: wire.Crash, Host: h.lab.hostSpec(h)}); err != nil {
		return err
	}
	h.pid = 0
	return nil
}

// Boot brings a crashed host up again, with another boot id.
func (h *Host) Boot(ctx context.Context) error {
	if err := h.bootInit(ctx); err != nil {
		return err
	}
	return h.StartDaemon(ctx)
}

// pidFile in a host's directory lets another process find the host.
const pidFile = "pid"

func (h *Host) bootInit(ctx context.Context) error {
	r, err := h.lab.ask(ctx, wire.Request{Op: wire.Boot, Host: h.lab.hostSpec(h)})
	if err != nil {
		return err
	}
	h.pid = r.HostPID
	return os.WriteFile(filepath.Join(h.dir, pidFile), []byte(strconv.Itoa(h.pid)+"\n"), 0o644)
}
