// Command lab runs KVM hosts on one machine for people, and is the program
// behind package lab: each process of a lab that is not libvirt's or QEMU's
// is this one.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/volbridge/volbridge/lab/internal/daemon"
	"github.com/volbridge/volbridge/lab/internal/enter"
	"github.com/volbridge/volbridge/lab/internal/hostinit"
	"github.com/volbridge/volbridge/lab/internal/keeper"
)

// Namespaces and the death signal belong to a thread; the main one lives as
// long as the process.
func init() { runtime.LockOSThread() }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

const usage = `usage:
  lab up [HOST[=RELEASE]...]
        run hosts until interrupted (default: kvm01 kvm02);
        kvm03=trixie is a host of Debian 13
  lab exec [-dir LAB] HOST PROGRAM [ARGUMENT...]
        run a program on a host of a running lab`

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch rest := args[1:]; args[0] {
	case "up":
		return up(rest)
	case "exec":
		return execute(rest)
	case "keeper":
		return keeper.Main()
	case "host-init":
		return hostinit.Main()
	case "daemon":
		return daemon.Main(rest)
	case enter.Outside:
		return enter.Main(rest)
	case enter.Inside:
		return enter.MainInside(rest)
	case enter.Watch:
		return enter.MainWatch(rest)
	case enter.Network:
		return enter.MainNetwork(rest)
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}
