package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideEnv marks the process that Private started.
const insideEnv = "VOLBRIDGE_TEST_INSIDE"

// Private makes a TestMain go on in a mount namespace of its own, with an empty
// folder in memory at each of dirs: the product's paths below /run are fixed, and
// a test must neither see nor change what the machine has there. The process that
// calls it waits, and ends as the one inside did. Without root nothing changes,
// for then nothing can be written there either.
func Private(dirs ...string) {
	if os.Geteuid() != 0 {
		return
	}
	if os.Getenv(insideEnv) == "" {
		os.Exit(again())
	}
	if err := isolate(dirs); err != nil {
		fmt.Fprintln(os.Stderr, "private folders for the tests:", err)
		os.Exit(1)
	}
}

// again runs this program once more, inside, and returns how that ended.
func again() int {
	// Pdeathsig is about the thread that starts the process.
	runtime.LockOSThread()
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		fmt.Fprintln(os.Stderr, "a mount namespace for the tests:", err)
	}
	if err != nil {
		return 1
	}
	return 0
}

func isolate(dirs []string) error {
	if err := os.Unsetenv(insideEnv); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("tmpfs on %s: %w", dir, err)
		}
	}
	return nil
}
