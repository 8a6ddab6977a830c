// Package enter runs a program in a lab host's namespaces in such a way that
// the caller's process stands for it: signals are passed on, the exit status
// comes back, and when the caller is killed, so is the program.
//
// Only a child can be born into a PID namespace, and a child whose parent
// outside is killed becomes an orphan of the machine's init, which may be slow
// to reap it or never do so; the namespace could not end before. Therefore:
//
//	enter           stays outside, holds two pipes
//	└─ enter-inside  joins the namespaces, starts the watcher and ends
//	   └─ enter-watch  now a child of the host's init; runs the program,
//	      │           reports its end, kills it when the pipe from outside ends
//	      └─ program
package enter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Names of the stages as the first argument of this program.
const (
	Outside = "enter"
	Inside  = "enter-inside"
	Watch   = "enter-watch"
	Network = "enter-network"
)

// Files that the later stages find open.
const (
	statusFD  = 3 // the watcher writes how the program ended
	controlFD = 4 // the caller's signals, one byte each; its end is a kill
)

// ending is how a program ended.
type ending struct {
	Code   int
	Signal unix.Signal // 0: it exited with Code
}

// Main runs argv in the namespaces of process pid (args: pid, argv…) and ends
// this process as the program ended. It returns only after an error.
func Main(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: enter PID PROGRAM [ARGUMENT…]")
	}
	if err := join(args[0], namespace{"pid", unix.CLONE_NEWPID}); err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	status, control, err := launch(args)
	if err != nil {
		return err
	}
	go func() {
		for s := range signals {
			_, _ = control.Write([]byte{byte(s.(unix.Signal))}) // the program may just have ended
		}
	}()
	var end ending
	if err := json.NewDecoder(status).Decode(&end); errors.Is(err, io.EOF) {
		end = ending{Signal: unix.SIGKILL} // the host is gone
	} else if err != nil {
		return err
	}
	return endAs(end)
}

// launch starts the later stages and returns the near ends of the pipes.
func launch(args []string) (status, control *os.File, err error) {
	status, statusFar, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer statusFar.Close()
	controlFar, control, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer controlFar.Close()
	cmd := stage(Inside, args, statusFar, controlFar)
	if err := cmd.Run(); err != nil {
		return nil, nil, fmt.Errorf("enter namespaces of process %s: %w", args[0], err)
	}
	return status, control, nil
}

func stage(name string, args []string, status, control *os.File) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{name}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{status, control}
	return cmd
}

// endAs ends this process the way the program ended.
func endAs(end ending) error {
	if end.Signal == 0 {
		os.Exit(end.Code)
	}
	signal.Reset(end.Signal)
	if err := unix.Kill(os.Getpid(), end.Signal); err != nil {
		return err
	}
	os.Exit(128 + int(end.Signal)) // a signal that does not end us
	return nil
}

// MainInside is the second stage (args as Main).
func MainInside(args []string) error {
	status, control := pipes()
	if err := joinAll(args[0], net, uts, ipc, mnt); err != nil {
		return err
	}
	return stage(Watch, args[1:], status, control).Start()
}

// MainNetwork becomes the program in the network and mount namespaces of
// process pid (args as Main).
func MainNetwork(args []string) error {
	if err := joinAll(args[0], net, mnt); err != nil {
		return err
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", path, unix.Exec(path, args[1:], os.Environ()))
}

// pipes takes over the two files, which no further program shall inherit.
func pipes() (status, control *os.File) {
	unix.CloseOnExec(statusFD)
	unix.CloseOnExec(controlFD)
	return os.NewFile(statusFD, "status"), os.NewFile(controlFD, "control")
}
