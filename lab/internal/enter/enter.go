// Package enter runs a program in a lab host's namespaces in such a way that
// the caller's process stands for it: signals are passed on, the exit status
// comes back, and when the caller is killed, so is the program.
package enter

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Stage names of this program; the second is used by the first only.
const (
	Outside = "enter"
	Inside  = "enter-inside"
)

// Main runs argv in the namespaces of process pid (args: pid, argv…) and ends
// this process as the program ended. It returns only after an error. It must
// be called on the locked main thread.
func Main(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: enter PID PROGRAM [ARGUMENT…]")
	}
	// A PID namespace takes in children only, so one process stays outside.
	if err := join(args[0], "pid", unix.CLONE_NEWPID); err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)

	cmd := exec.Command("/proc/self/exe", append([]string{Inside, strconv.Itoa(os.Getpid())}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("enter namespaces of %s: %w", args[0], err)
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may just have ended
		}
	}()
	return endAs(cmd.Wait(), cmd.ProcessState)
}

// endAs ends this process the way the program ended.
func endAs(err error, state *os.ProcessState) error {
	if state == nil {
		return err
	}
	status := state.Sys().(syscall.WaitStatus)
	if !status.Signaled() {
		os.Exit(status.ExitStatus())
	}
	signal.Reset(status.Signal())
	if err := unix.Kill(os.Getpid(), status.Signal()); err != nil {
		return err
	}
	os.Exit(128 + int(status.Signal())) // a signal that does not end us
	return nil
}

// MainInside is the second stage (args: pid of the first stage, pid to enter,
// argv…): it joins the other namespaces and becomes the program.
func MainInside(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: enter-inside PARENT PID PROGRAM [ARGUMENT…]")
	}
	if err := dieWithParent(args[0]); err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	if err := joinAll(args[1]); err != nil {
		return err
	}
	if err := unix.Chdir(dir); err != nil {
		if err := unix.Chdir("/"); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(args[2])
	if err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", path, unix.Exec(path, args[2:], os.Environ()))
}

// dieWithParent ties this process to the first stage. A parent in an outer PID
// namespace reads as 0; once it is gone, there is another.
func dieWithParent(parent string) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if p := os.Getppid(); p != 0 && strconv.Itoa(p) != parent {
		return errors.New("the caller is gone")
	}
	return nil
}

// joinAll opens everything before it joins anything: afterwards /proc is
// another.
func joinAll(pid string) error {
	kinds := []struct {
		name string
		flag int
	}{
		{"net", unix.CLONE_NEWNET}, {"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC}, {"mnt", unix.CLONE_NEWNS},
	}
	fds := make([]int, len(kinds))
	for i, k := range kinds {
		fd, err := open(pid, k.name)
		if err != nil {
			return err
		}
		fds[i] = fd
	}
	// The kernel lets a thread change its mounts only if it shares its idea
	// of root and working directory with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for i, k := range kinds {
		if err := unix.Setns(fds[i], k.flag); err != nil {
			return fmt.Errorf("join %s namespace of process %s: %w", k.name, pid, err)
		}
	}
	return nil
}

func join(pid, name string, flag int) error {
	fd, err := open(pid, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, flag); err != nil {
		return fmt.Errorf("join %s namespace of process %s: %w", name, pid, err)
	}
	return nil
}

func open(pid, name string) (int, error) {
	fd, err := unix.Open("/proc/"+pid+"/ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("enter namespaces of process %s: %w (is the host up?)", pid, err)
	}
	return fd, nil
}
