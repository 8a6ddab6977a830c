// Command volbridge-hook is libvirt's qemu hook for volbridge. It is installed
// as /etc/libvirt/hooks/qemu.d/50-volbridge, and libvirt calls it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/volbridge/volbridge/cmd/volbridge-hook/early"
	"github.com/volbridge/volbridge/hooks"
	"github.com/volbridge/volbridge/hooks/scan"
	"github.com/volbridge/volbridge/internal/buildinfo"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool/drivers"
)

// version is set when a release is built.
var version = "devel"

const usage = `volbridge-hook %s: libvirt's qemu hook for volbridge.

libvirt calls this program when a domain starts, stops, arrives by migration or
is restored; it then attaches or releases the domain's managed disks. Install it
as /etc/libvirt/hooks/qemu.d/50-volbridge, and type "systemctl reload libvirtd"
(or virtqemud), which notices its first hook only then. To see what it would do
to a domain's XML, use "volbridge domain rewrite FILE".

Usage: volbridge-hook DOMAIN OPERATION SUB-OPERATION EXTRA < DOMAIN.xml
`

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) == 1 && (args[0] == "--version" || args[0] == "--help" || args[0] == "-h") {
		fmt.Printf(usage, buildinfo.Version(version))
		return 0
	}
	if len(args) == 0 {
		fmt.Fprintf(os.Stderr, usage, buildinfo.Version(version))
		return 2
	}
	// A reader of ours that is gone must not end the hook with a signal: of a
	// running guest libvirt would kill the guest.
	signal.Ignore(syscall.SIGPIPE)
	h := hooks.Hook{
		ConfigPath: config.DefaultPath,
		HintDir:    scan.HintDir,
		Root:       "/",
		Machine:    machine(),
		LogDir:     hooks.GuestLogDir,
		StoredDir:  hooks.DefinitionDir,
		Drivers:    drivers.All,
		Build:      version,
		Recover:    hooks.DefaultRecovery().Start,
		Stdin:      early.Stdin(),
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
	}
	return h.Run(context.Background(), args)
}
