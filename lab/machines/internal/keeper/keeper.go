// Package keeper is the process that holds a lab of machines: their QEMUs are
// its children and die with it, the network is its namespace and goes with it.
// It ends when its standard input does, that is when the library closes the
// lab or the process that uses the library ends, however that happens.
package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	hosts "github.com/volbridge/volbridge/lab/internal/keeper"
)

type keeper struct {
	setup    Setup
	machines map[string]*exec.Cmd
}

// Main keeps a lab: a Setup on standard input, then requests, each answered by
// one Reply on standard output. It must be called on the locked main thread,
// to which the machines' lives are tied.
func Main() error {
	signal.Ignore(unix.SIGPIPE) // nobody may be left to read an answer
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)

	in := json.NewDecoder(os.Stdin)
	k := &keeper{machines: map[string]*exec.Cmd{}}
	if err := in.Decode(&k.setup); err != nil {
		return fmt.Errorf("read the lab's description: %w", err)
	}
	err := k.network()
	if answerErr := json.NewEncoder(os.Stdout).Encode(reply(Reply{}, err)); err == nil && answerErr == nil {
		k.serve(in, interrupted)
	}
	return k.cleanUp()
}

// serve answers until there will be no further request.
func (k *keeper) serve(in *json.Decoder, interrupted <-chan os.Signal) {
	requests := make(chan Request)
	go func() {
		defer close(requests)
		for {
			var r Request
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
			if !more || out.Encode(k.handle(r)) != nil {
				return
			}
		case <-interrupted:
			return
		}
	}
}

func (k *keeper) handle(r Request) Reply {
	switch r.Op {
	case Boot:
		pid, err := k.boot(r)
		return reply(Reply{PID: pid}, err)
	case Kill:
		ended, err := k.kill(r.Name)
		return reply(Reply{Ended: ended}, err)
	}
	return reply(Reply{}, fmt.Errorf("unknown request %q", r.Op))
}

func reply(r Reply, err error) Reply {
	if err != nil {
		return Reply{Error: err.Error()}
	}
	return r
}

// network makes the lab's network in the namespace that this process was
// started in, and lets it know the machines' names.
func (k *keeper) network() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := unix.Mount(k.setup.HostsFile, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("set /etc/hosts: %w", err)
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(k.setup.Network, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, out)
	}
	return nil
}

func (k *keeper) boot(r Request) (int, error) {
	if k.machines[r.Name] != nil {
		return 0, fmt.Errorf("machine %s is up already", r.Name)
	}
	log, err := os.OpenFile(r.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	qemu := exec.Command(r.Argv[0], r.Argv[1:]...)
	qemu.Stdout, qemu.Stderr = log, log
	qemu.SysProcAttr = &unix.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	if err := qemu.Start(); err != nil {
		return 0, fmt.Errorf("boot machine %s: %w", r.Name, err)
	}
	k.machines[r.Name] = qemu
	return qemu.Process.Pid, nil
}

// kill ends a machine, waits until it is gone, and returns how it ended.
func (k *keeper) kill(name string) (string, error) {
	qemu := k.machines[name]
	if qemu == nil {
		return "", nil
	}
	delete(k.machines, name)
	if err := qemu.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return "", fmt.Errorf("end machine %s: %w", name, err)
	}
	var killed *exec.ExitError
	if err := qemu.Wait(); err != nil && !errors.As(err, &killed) {
		return "", fmt.Errorf("end machine %s: %w", name, err)
	}
	return qemu.ProcessState.String(), nil
}

// cleanUp removes everything: a step that fails does not stop the next ones.
func (k *keeper) cleanUp() error {
	var errs []error
	for name := range k.machines {
		_, err := k.kill(name)
		errs = append(errs, err)
	}
	network, err := hosts.Network(os.Getpid())
	return errors.Join(append(errs, err, hosts.Clean(k.setup.Dir, network))...)
}
