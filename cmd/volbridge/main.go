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
	ctx, stop := signal.NotifyContext(context.Background(), interrupts()...)
	defer stop()
	// A terminal or a pipe that is gone must not end what is being taken back.
	// Not ignored: the programs that are started would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	a := newApp()
	err := a.run(ctx, args)
	a.report(err)
	return exitCode(ctx, err)
}

// interrupts are the signals that ask for an orderly end: the last comes when
// the terminal or its connection goes, and nohup has it ignored.
func interrupts() []os.Signal {
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}
