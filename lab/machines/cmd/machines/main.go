// Command machines is the program behind package lab/machines, inside and
// outside of the machines.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/volbridge/volbridge/lab/internal/enter"
	"github.com/volbridge/volbridge/lab/machines/internal/agent"
	"github.com/volbridge/volbridge/lab/machines/internal/keeper"
	"github.com/volbridge/volbridge/lab/machines/nvmet"
)

// Namespaces and the death signal belong to a thread; the main one lives as
// long as the process.
func init() { runtime.LockOSThread() }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "machines:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("this program is started by package lab/machines")
	}
	switch rest := args[1:]; args[0] {
	case "keeper":
		return keeper.Main()
	case "agent":
		return agent.Serve(rest)
	case "call":
		return agent.Call(rest)
	case "target":
		return nvmet.Obey(context.Background(), os.Stdin)
	case enter.Network:
		return enter.MainNetwork(rest)
	}
	return fmt.Errorf("unknown command %q", args[0])
}
