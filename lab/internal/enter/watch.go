package enter

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// MainWatch is the third stage (args: argv): it runs the program, reports how
// it ended and lets it not outlive the caller.
func MainWatch(args []string) error {
	status, control := pipes()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return report(status, ending{Code: 127})
	}
	go obey(control, cmd.Process)
	err := cmd.Wait()
	if cmd.ProcessState == nil {
		return err
	}
	how := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if how.Signaled() {
		return report(status, ending{Signal: how.Signal()})
	}
	return report(status, ending{Code: how.ExitStatus()})
}

func report(status *os.File, end ending) error {
	return json.NewEncoder(status).Encode(end)
}

// obey passes the caller's signals on, and kills the program when the caller
// is gone. A signal to a program that has just ended is no error.
func obey(control *os.File, program *os.Process) {
	for {
		var b [1]byte
		if n, err := control.Read(b[:]); n == 0 || err != nil {
			_ = program.Kill()
			return
		}
		_ = program.Signal(unix.Signal(b[0]))
	}
}
