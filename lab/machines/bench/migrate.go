package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/internal/figures"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/kvmhost"
)

// migrateBench moves a guest to and fro by plain virsh, with the hook and
// without. libvirt looks for hooks when it starts, so the two take turns in
// blocks.
type migrateBench struct {
	*rig
	ctx   context.Context
	clock *tickClock
	took  map[bool][]time.Duration // with the hook or without
	pause map[bool][]time.Duration
}

const (
	migrateGuest = "move1"
	migrateUUID  = "6d3c1f0e-0000-4000-8000-000000000002"
	migrateBytes = 16 << 20
	// blockMoves is how often the guest moves between two restarts of libvirtd.
	blockMoves = 5
)

func benchMigrate(ctx context.Context, r *rig, runs int) ([]figures.Row, error) {
	b := &migrateBench{rig: r, ctx: ctx, took: map[bool][]time.Duration{}, pause: map[bool][]time.Duration{}}
	var err error
	if b.clock, err = startTickClock(ctx, r.lab); err != nil {
		return nil, err
	}
	err = b.volume()
	for done := 0; err == nil && done < runs; done += blockMoves {
		for _, hooked := range []bool{false, true} {
			if err = b.block(hooked, min(blockMoves, runs-done)); err != nil {
				err = fmt.Errorf("hook %v: %w", hooked, err)
				break
			}
		}
	}
	if err := errors.Join(err, b.clock.close()); err != nil {
		return nil, err
	}
	for _, hooked := range []bool{false, true} {
		fmt.Printf("virsh migrate of a shared disk, %s:\n    total: %s\n    longest pause: %s\n",
			map[bool]string{false: "device there, no hook", true: "with the hook"}[hooked], figures.Spread(b.took[hooked]), figures.Spread(b.pause[hooked]))
	}
	const against = "the device there and no hook"
	return []figures.Row{
		figures.Times("virsh migrate of a shared disk with the hook, total time", figures.Median(b.took[true]), against, figures.Median(b.took[false]), 1.1),
		figures.Times("virsh migrate of a shared disk with the hook, longest pause between two ticks",
			figures.Median(b.pause[true]), against, figures.Median(b.pause[false]), 1.1),
	}, nil
}

func (b *migrateBench) link() string {
	v, _ := b.flash.Volume(migrateGuest)
	return "/dev/disk/by-id/nvme-eui." + flasharray.NGUID(v.Serial)
}

// volume makes a volume with the tick guest, and the guest's definition.
func (b *migrateBench) volume() error {
	dir, err := os.MkdirTemp("", "volbridge-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "image")
	if err := lab.WriteTickImage(b.ctx, image, "raw", migrateBytes, 1); err != nil {
		return err
	}
	if err := b.one.Copy(b.ctx, image, "/root/tick.raw", 0o644); err != nil {
		return err
	}
	if _, err := b.one.Run(b.ctx, "volbridge", "volume", "create", "flash/"+migrateGuest, "--from", "/root/tick.raw"); err != nil {
		return err
	}
	xml := lab.TickGuest{Name: migrateGuest, UUID: migrateUUID, Disks: []string{lab.BlockDisk("vda", b.link())}, Serial: b.clock.element()}.XML()
	return b.one.WriteFile(b.ctx, "/root/"+migrateGuest+".xml", []byte(xml), 0o644)
}

// block moves the guest n times, and once more before that counts.
func (b *migrateBench) block(hooked bool, n int) error {
	if err := b.hooks(hooked); err != nil {
		return err
	}
	if !hooked {
		if err := b.connect(); err != nil {
			return err
		}
	}
	if _, err := b.one.Run(b.ctx, "virsh", "create", "/root/"+migrateGuest+".xml"); err != nil {
		return err
	}
	from, to := b.one, b.two
	for move := range n + 1 {
		took, pause, err := b.move(from, to)
		if err != nil {
			return err
		}
		if move > 0 {
			b.took[hooked] = append(b.took[hooked], took)
			b.pause[hooked] = append(b.pause[hooked], pause)
		}
		from, to = to, from
	}
	_, err := from.Run(b.ctx, "virsh", "destroy", migrateGuest)
	if err == nil && !hooked {
		err = b.disconnect()
	}
	return err
}

// hooks puts the hook in its place on both hosts, or takes it away.
func (b *migrateBench) hooks(there bool) error {
	for _, h := range b.hosts() {
		script := `if [ -e "$1" ]; then mv "$1" "$2"; systemctl restart libvirtd; fi; virsh uri`
		if there {
			script = `if [ -e "$2" ]; then mv "$2" "$1"; systemctl restart libvirtd; fi; virsh uri`
		}
		if _, err := h.Shell(b.ctx, script, kvmhost.HookFile, "/root/hook"); err != nil {
			return err
		}
	}
	return nil
}

// connect makes the device appear on both hosts.
func (b *migrateBench) connect() error {
	for _, h := range b.hosts() {
		if err := b.flash.Connect(h.Name(), migrateGuest); err != nil {
			return err
		}
		if err := b.controllers(b.ctx, h); err != nil {
			return err
		}
		_, err := h.Run(b.ctx, "udevadm", "wait", "--timeout=60", b.link())
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *migrateBench) disconnect() error {
	for _, h := range b.hosts() {
		if err := b.flash.Disconnect(h.Name(), migrateGuest); err != nil {
			return err
		}
		if _, err := h.Run(b.ctx, "udevadm", "wait", "--timeout=60", "--removed", b.link()); err != nil {
			return err
		}
	}
	return nil
}

// migrateScript is timed in the machine, so that reaching it is not counted.
const migrateScript = `start=$(date +%s%N); virsh migrate --live "$1" "$2" >&2; end=$(date +%s%N); echo $((end - start))`

func (b *migrateBench) move(from, to *machines.Node) (took, pause time.Duration, err error) {
	const settled = 10
	if err := b.clock.after(b.ctx, settled); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	out, err := from.Shell(b.ctx, migrateScript, migrateGuest, to.URI())
	if err != nil {
		return 0, 0, err
	}
	lines := strings.Fields(out)
	ns, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	if err != nil {
		return 0, 0, err
	}
	end := time.Now()
	err = b.clock.after(b.ctx, settled)
	return time.Duration(ns), b.clock.longest(start, end), err
}
