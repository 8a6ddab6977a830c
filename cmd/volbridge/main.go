// Command volbridge lets plain libvirt hosts use volumes of storage pools and
// migrate running domains with them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args)) }

// run is the whole program; only main ends the process.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := newApp()
	err := a.run(ctx, args)
	a.report(err)
	return exitCode(ctx, err)
}
