// Package keeper is the process that holds a lab: the hosts are its children
// and die with it, the network is its namespace and goes with it. It ends when
// its standard input does, that is when the library closes the lab or the
// process that uses the library ends, however that happens; then it removes
// what the kernel does not remove by itself.
package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/internal/wire"
)

type keeper struct {
	setup wire.Setup
	hosts map[string]*exec.Cmd // the init processes
}

// Main keeps a lab: a wire.Setup on standard input, then requests, each
// answered by one reply on standard output. It must be called on the locked
// main thread, to which the hosts' lives are tied.
func Main() error {
	signal.Ignore(unix.SIGPIPE) // nobody may be left to read an answer
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)

	in := json.NewDecoder(os.Stdin)
	k := &keeper{hosts: map[string]*exec.Cmd{}}
	if err := in.Decode(&k.setup); err != nil {
		return fmt.Errorf("read the lab's description: %w", err)
	}
	err := k.network()
	if answerErr := json.NewEncoder(os.Stdout).Encode(reply(0, err)); err == nil && answerErr == nil {
		k.serve(in, interrupted)
	}
	return k.cleanUp()
}

// serve answers until there will be no further request.
func (k *keeper) serve(in *json.Decoder, interrupted <-chan os.Signal) {
	requests := make(chan wire.Request)
	go func() {
		defer close(requests)
		for {
			var r wire.Request
			if in.Decode(&r) != nil {
				return // the end of the input, or nothing that we could answer
			}
			requests <- r
		}
	}()
	out := json.NewEncoder(os.Stdout)
	for {
		select {
		case r, more := <-requests:
			if !more {
				return
			}
			if out.Encode(k.handle(r)) != nil {
				return
			}
		case <-interrupted:
			return
		}
	}
}

func (k *keeper) handle(r wire.Request) wire.Reply {
	switch r.Op {
	case wire.Boot:
		return reply(k.boot(r.Host))
	case wire.Crash:
		return reply(0, k.crash(r.Host))
	}
	return reply(0, fmt.Errorf("unknown request %q", r.Op))
}

func reply(pid int, err error) wire.Reply {
	if err != nil {
		return wire.Reply{Error: err.Error()}
	}
	return wire.Reply{HostPID: pid}
}

// network makes the lab's network in the namespace that this process was
// started in, and lets it know the hosts' names.
func (k *keeper) network() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := unix.Mount(k.setup.HostsFile, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("set /etc/hosts: %w", err)
	}
	return ip(
		"link set lo up",
		"link add br0 type bridge",
		"addr add "+k.setup.BridgeAddr+" dev br0",
		"link set br0 up",
	)
}

func ip(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, out)
	}
	return nil
}

// boot starts the host's init in new namespaces, plugs its network in and lets
// it build the rest.
func (k *keeper) boot(spec wire.HostSpec) (int, error) {
	if k.hosts[spec.Name] != nil {
		return 0, fmt.Errorf("host %s is up already", spec.Name)
	}
	log, err := os.OpenFile(filepath.Join(spec.LogDir, "init.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	init := exec.Command("/proc/self/exe", "host-init")
	init.Stderr = log
	init.SysProcAttr = &unix.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	if err := k.start(init, spec); err != nil {
		return 0, fmt.Errorf("boot host %s: %w", spec.Name, err)
	}
	k.hosts[spec.Name] = init
	return init.Process.Pid, nil
}

func (k *keeper) start(init *exec.Cmd, spec wire.HostSpec) error {
	in, err := init.StdinPipe()
	if err != nil {
		return err
	}
	out, err := init.StdoutPipe()
	if err != nil {
		return err
	}
	if err := init.Start(); err != nil {
		return err
	}
	err = errors.Join(plug(spec, init.Process.Pid), json.NewEncoder(in).Encode(spec), in.Close())
	if err == nil {
		var built wire.Reply
		if err = json.NewDecoder(out).Decode(&built); err == nil && built.Error != "" {
			err = errors.New(built.Error)
		}
	}
	if err != nil {
		return errors.Join(err, end(init))
	}
	return out.Close()
}

// plug connects the network namespace of process pid to the bridge.
func plug(spec wire.HostSpec, pid int) error {
	cable := cable(spec)
	return ip(
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", cable, pid),
		fmt.Sprintf("link set %s master br0", cable),
		fmt.Sprintf("link set %s up", cable),
	)
}

// unplug removes the cable of a host that is gone. The kernel does so, too, but
// some time later, when the next boot may already need the name.
func unplug(spec wire.HostSpec) error {
	err := ip("link del " + cable(spec))
	if _, there := net.InterfaceByName(cable(spec)); there != nil {
		return nil
	}
	return err
}

func cable(spec wire.HostSpec) string { return fmt.Sprintf("host%d", spec.Index) }

// end kills an init, and with it every process of its namespace, and waits
// until all are gone.
func end(init *exec.Cmd) error {
	if err := init.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var killed *exec.ExitError
	if err := init.Wait(); err != nil && !errors.As(err, &killed) {
		return err
	}
	return nil
}
