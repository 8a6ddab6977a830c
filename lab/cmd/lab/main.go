// Command lab is the program behind package lab: each process of a lab that
// is not libvirt's or QEMU's is this one.
package main

import (
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

func run(args []string) error {
	if len(args) == 0 {
		return usage()
	}
	switch rest := args[1:]; args[0] {
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
	return usage()
}

func usage() error {
	return fmt.Errorf("usage: lab up | lab exec HOST PROGRAM [ARGUMENT…]")
}
