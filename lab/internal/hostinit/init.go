// Package hostinit is process 1 of a lab host: it builds the host's file
// systems and network inside fresh namespaces, says so, and then only reaps
// the daemons that lose their parent.
package hostinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/internal/wire"
)

// Main reads a wire.HostSpec from standard input, builds the host and answers
// with a wire.Reply on standard output. It returns only after an error.
func Main() error {
	// The keeper's end is the host's end, like a power cut.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with the keeper: %w", err)
	}
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, unix.SIGCHLD)

	var spec wire.HostSpec
	if err := json.NewDecoder(os.Stdin).Decode(&spec); err != nil {
		return fmt.Errorf("read the host's description: %w", err)
	}
	if err := build(spec); err != nil {
		return answer(wire.Reply{Error: err.Error()})
	}
	if err := answer(wire.Reply{}); err != nil {
		return err
	}
	if err := letGo(); err != nil {
		return err
	}
	reap(orphans)
	return nil
}

func answer(r wire.Reply) error {
	return json.NewEncoder(os.Stdout).Encode(r)
}

func build(spec wire.HostSpec) error {
	if err := unix.Sethostname([]byte(spec.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := network(spec); err != nil {
		return err
	}
	return enterRoot(spec)
}

// network configures the end of the cable that the keeper has put in.
func network(spec wire.HostSpec) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(
		"link set lo up\naddr add %s dev eth0\nlink set eth0 up\n", spec.Address))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("configure network of %s: %w: %s", spec.Name, err, out)
	}
	return nil
}

// letGo drops the pipes to the keeper, whose ends would otherwise stay open
// for as long as the host lives.
func letGo() error {
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open /dev/null: %w", err)
	}
	defer unix.Close(null)
	return errors.Join(unix.Dup3(null, 0, 0), unix.Dup3(null, 1, 0))
}

// reap collects every orphan of the PID namespace, for ever.
func reap(orphans <-chan os.Signal) {
	for range orphans {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}
