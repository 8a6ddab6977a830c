package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/internal/enter"
)

// up keeps a lab until the user ends it.
func up(args []string) error {
	if len(args) == 0 {
		args = []string{"kvm01", "kvm02"}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o := lab.Options{Program: self, Verbose: os.Stderr}
	for _, arg := range args {
		name, release, _ := strings.Cut(arg, "=")
		o.Hosts = append(o.Hosts, lab.HostOptions{Name: name, Release: release})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	l, err := lab.Start(ctx, o)
	if err != nil {
		return err
	}
	fmt.Printf("The lab is in %s; interrupt to end it.\n", l.Dir())
	fmt.Printf("  run a program: %s exec -dir %s HOST PROGRAM\n", self, l.Dir())
	for _, h := range l.Hosts() {
		fmt.Printf("  %s  shell: nsenter --all --target %d\n  %*s  virsh: virsh -c '%s'\n",
			h.Name(), h.PID(), len(h.Name()), "", h.SocketURI())
	}
	<-ctx.Done()
	return l.Close()
}

// execute runs a program on a host of somebody's lab.
func execute(args []string) error {
	flags := flag.NewFlagSet("exec", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprintln(flags.Output(), usage) }
	dir := flags.String("dir", "", "the lab's directory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	program := flags.Args()
	if len(program) > 1 && program[1] == "--" {
		program = append(program[:1], program[2:]...)
	}
	if len(program) < 2 {
		return errors.New(usage)
	}
	pid, err := lab.FindHost(*dir, program[0])
	if err != nil {
		return err
	}
	return enter.Main(append([]string{pid}, program[1:]...))
}
