// Package drbd makes DRBD resources on emulated machines, with the tools and
// the kernel module of the machines' image.
package drbd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/volbridge/volbridge/lab/machines"
)

// Resource is one with a replica on each host, in a file behind a loop device.
type Resource struct {
	Name  string
	Minor int // of DRBD and of the loop device, on each host
	MiB   int // of the replica's file; a little of it is DRBD's own
	Hosts []*machines.Node
}

// Path is its device on each host.
func (r Resource) Path() string { return "/dev/drbd/by-res/" + r.Name + "/0" }

// limit is above what a step takes on a machine that is emulated.
const limit = 2 * time.Minute

// Create makes the replicas, which are equal from the start, and returns when
// they are connected and each host has the device.
func (r Resource) Create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := r.each(func(h *machines.Node) error {
		if err := h.WriteFile(ctx, r.configFile(), []byte(r.config()), 0o644); err != nil {
			return err
		}
		_, err := h.Shell(ctx, `truncate -s "$2"M "$1"; losetup --direct-io=on "$3" "$1"; drbdadm create-md --force "$4" 2>&1`,
			r.file(), fmt.Sprint(r.MiB), r.loop(), r.Name)
		return err
	})
	if err == nil {
		err = r.each(func(h *machines.Node) error { return r.up(ctx, h) })
	}
	if err != nil {
		return fmt.Errorf("make DRBD resource %s: %w", r.Name, err)
	}
	// Both are empty, so there is nothing to copy.
	if _, err = r.Hosts[0].Run(ctx, "drbdadm", "new-current-uuid", "--clear-bitmap", r.Name+"/0"); err != nil {
		return err
	}
	return r.each(func(h *machines.Node) error {
		_, err := h.Run(ctx, "udevadm", "wait", "--timeout=60", r.Path())
		return err
	})
}

// Up brings the resource up on a host that was booted again.
func (r Resource) Up(ctx context.Context, h *machines.Node) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, err := h.Run(ctx, "losetup", "--direct-io=on", r.loop(), r.file()); err != nil {
		return err
	}
	return r.up(ctx, h)
}

func (r Resource) up(ctx context.Context, h *machines.Node) error {
	_, err := h.Shell(ctx, `modprobe drbd; drbdadm up "$1"`, r.Name)
	if err != nil {
		return err
	}
	return r.Connected(ctx, h)
}

// Connected returns once the host is connected to its peer.
func (r Resource) Connected(ctx context.Context, h *machines.Node) error {
	_, err := h.Run(ctx, "timeout", "60", "drbdadm", "wait-connect", r.Name)
	return err
}

// Equal returns once what the host lacks, or its peer, was copied.
func (r Resource) Equal(ctx context.Context, h *machines.Node) error {
	_, err := h.Run(ctx, "timeout", "60", "drbdsetup", "wait-sync", fmt.Sprint(r.Minor)) // drbdadm of 8.4 cannot
	return err
}

// each does something on all hosts side by side: they wait for each other.
func (r Resource) each(do func(*machines.Node) error) error {
	errs := make([]error, len(r.Hosts))
	var wg sync.WaitGroup
	for i, h := range r.Hosts {
		wg.Go(func() { errs[i] = do(h) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r Resource) configFile() string { return "/etc/drbd.d/" + r.Name + ".res" }
func (r Resource) file() string       { return "/root/" + r.Name + ".img" }
func (r Resource) loop() string       { return fmt.Sprintf("/dev/loop%d", r.Minor) }

// config replicates in the first portal network. After a split brain the
// replica gives way that was not written and is not in use.
func (r Resource) config() string {
	const firstPort = 7789
	var b strings.Builder
	fmt.Fprintf(&b, "resource %s {\n\tnet {\n\t\tprotocol C;\n\t\tping-timeout 50;\n"+
		"\t\tafter-sb-0pri discard-zero-changes;\n\t\tafter-sb-1pri consensus;\n\t}\n", r.Name)
	for _, h := range r.Hosts {
		fmt.Fprintf(&b, "\ton %s {\n\t\tdevice /dev/drbd%d;\n\t\tdisk %s;\n\t\taddress %s:%d;\n\t\tmeta-disk internal;\n\t}\n",
			h.Name(), r.Minor, r.loop(), h.Portal(1), firstPort+r.Minor)
	}
	b.WriteString("}\n")
	return b.String()
}
