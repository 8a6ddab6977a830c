package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/internal/figures"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/cluster"
	"github.com/volbridge/volbridge/lab/machines/drbd"
)

// primariesBench moves a guest on a DRBD resource to and fro by plain virsh. It
// compares how long the kernel allows two primaries with how long there are two
// QEMUs, both as the kernels tell it.
type primariesBench struct {
	*rig
	ctx   context.Context
	clock *tickClock
}

const (
	primariesGuest = "move2"
	primariesUUID  = "6d3c1f0e-0000-4000-8000-000000000003"
)

func benchPrimaries(ctx context.Context, r *rig, runs int) (rows []figures.Row, err error) {
	b := &primariesBench{rig: r, ctx: ctx}
	if b.clock, err = startTickClock(ctx, r.lab); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		name, volume string
		make         func() (func() error, error)
	}{
		{"DRBD by hand", "hand", b.byHand},
		{"LINSTOR, one replica", "one", func() (func() error, error) { return b.onCluster(cluster.Group, "one") }},
		{"LINSTOR, two replicas", "two", func() (func() error, error) { return b.onCluster(cluster.Replicas, "two") }},
	} {
		row, err := b.measure(c.name, c.volume, runs, c.make)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, row)
	}
	return rows, b.clock.close()
}

// configure gives both hosts one more pool.
func (b *primariesBench) configure(more string) error {
	for _, h := range b.hosts() {
		if err := h.WriteFile(b.ctx, "/etc/volbridge/volbridge.toml", []byte(b.config+more), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// image is the guest's disk, on the first host.
func (b *primariesBench) image() error {
	dir, err := os.MkdirTemp("", "volbridge-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "image")
	if err := lab.WriteTickImage(b.ctx, image, "raw", migrateBytes, 1); err != nil {
		return err
	}
	return b.one.Copy(b.ctx, image, "/root/tick.raw", 0o644)
}

func (b *primariesBench) byHand() (func() error, error) {
	r := drbd.Resource{Name: "hand", MiB: 17, Hosts: b.hosts()}
	if err := r.Create(b.ctx); err != nil {
		return nil, err
	}
	if err := b.configure("[pool.data]\ntype = \"drbd\"\n"); err != nil {
		return nil, err
	}
	_, err := b.one.Shell(b.ctx, `drbdadm primary "$1"; dd if=/root/tick.raw of="$2" bs=1M oflag=direct status=none; drbdadm secondary "$1"`, r.Name, r.Path())
	return func() error { return nil }, err
}

func (b *primariesBench) onCluster(group, volume string) (func() error, error) {
	r, err := cluster.Start(b.ctx, b.lab, cluster.Options{Address: "10.78.0.4", Hosts: b.hosts()})
	if err != nil {
		return nil, err
	}
	if err = b.configure(r.PoolConfig("drbd", group)); err == nil {
		_, err = b.one.Run(b.ctx, "volbridge", "volume", "create", "drbd/"+volume, "--from", "/root/tick.raw")
	}
	return func() error { return errors.Join(b.drop(volume), r.Close()) }, err
}

// drop deletes a volume: the next cluster uses its ports and minors again. Who
// closed it last is still Primary; see cluster.Nodes.
func (b *primariesBench) drop(volume string) error {
	for _, h := range b.hosts() {
		if _, err := h.Shell(b.ctx, `drbdadm secondary "$1" 2>/dev/null || true`, volume); err != nil {
			return err
		}
	}
	_, err := b.one.Run(b.ctx, "volbridge", "volume", "delete", "--yes", "drbd/"+volume)
	return err
}

func (b *primariesBench) measure(name, volume string, runs int, prepare func() (func() error, error)) (row figures.Row, err error) {
	if err := b.image(); err != nil {
		return row, err
	}
	end, err := prepare()
	if err != nil {
		return row, err
	}
	xml := lab.TickGuest{Name: primariesGuest, UUID: primariesUUID, Serial: b.clock.element(),
		Disks: []string{lab.BlockDisk("vda", "/dev/drbd/by-res/"+volume+"/0")}}.XML()
	if err := b.one.WriteFile(b.ctx, "/root/"+primariesGuest+".xml", []byte(xml), 0o644); err != nil {
		return row, err
	}
	if _, err := b.one.Run(b.ctx, "virsh", "create", "/root/"+primariesGuest+".xml"); err != nil {
		return row, err
	}
	var allowed, both, before, after []time.Duration
	from, to := b.one, b.two
	for range runs {
		w, err := b.move(from, to)
		if err != nil {
			return row, err
		}
		allowed, both = append(allowed, w.allowed()), append(both, w.both())
		before, after = append(before, w.start.Sub(w.first)), append(after, w.last.Sub(w.end))
		from, to = to, from
	}
	if _, err := from.Run(b.ctx, "virsh", "destroy", primariesGuest); err != nil {
		return row, err
	}
	fmt.Printf("%s:\n    two primaries allowed: %s\n    before there are two QEMUs: %s\n    two QEMUs: %s\n    after that: %s\n",
		name, figures.Spread(allowed), figures.Spread(before), figures.Spread(both), figures.Spread(after))
	return figures.Times(name+": two primaries are allowed", figures.Median(allowed), "two QEMUs exist", figures.Median(both), 1.5), end()
}

func (b *primariesBench) move(from, to *machines.Node) (windows, error) {
	const settled = 10
	if err := b.clock.after(b.ctx, settled); err != nil {
		return windows{}, err
	}
	for _, h := range b.hosts() {
		if _, err := h.Shell(b.ctx, traceScript); err != nil {
			return windows{}, err
		}
	}
	if _, err := from.Run(b.ctx, "virsh", "migrate", "--live", primariesGuest, to.URI()); err != nil {
		return windows{}, err
	}
	source, err := readTrace(b.ctx, from)
	if err != nil {
		return windows{}, err
	}
	target, err := readTrace(b.ctx, to)
	if err != nil {
		return windows{}, err
	}
	return windowsOf(source, target)
}

// windows of a move: two primaries are allowed from the first change of a net
// option on either host to the last, and there are two QEMUs from the start of
// the one that goes on to the end of the other.
type windows struct{ first, start, end, last time.Time }

func (w windows) allowed() time.Duration { return w.last.Sub(w.first) }
func (w windows) both() time.Duration    { return w.end.Sub(w.start) }

func windowsOf(source, target []traced) (windows, error) {
	var changes, starts, ends []time.Time
	for _, e := range append(append([]traced(nil), source...), target...) {
		if e.what == netOptions {
			changes = append(changes, e.at)
		}
	}
	for _, e := range target {
		if e.what == qemuStart {
			starts = append(starts, e.at)
		}
	}
	for _, e := range source {
		if e.what == qemuEnd {
			ends = append(ends, e.at)
		}
	}
	if len(changes) < 2 || len(starts) == 0 || len(ends) == 0 {
		return windows{}, fmt.Errorf("the kernels tell of %d changes, %d starts and %d ends of QEMU", len(changes), len(starts), len(ends))
	}
	return windows{
		slices.MinFunc(changes, time.Time.Compare), starts[len(starts)-1], ends[len(ends)-1], slices.MaxFunc(changes, time.Time.Compare),
	}, nil
}

// traceScript has the kernel write down when DRBD's net options change, and
// when a QEMU starts and ends.
var traceScript = strings.ReplaceAll(`cd /sys/kernel/tracing; echo 0 >tracing_on
	grep -q NETOPTS kprobe_events || { modprobe drbd; echo p:NETOPTS drbd_adm_net_opts >>kprobe_events; }
	echo tai >trace_clock
	echo 'filename ~ "*qemu-system*"' >events/sched/sched_process_exec/filter
	echo 'comm ~ "qemu-system*"' >events/sched/sched_process_exit/filter
	for e in kprobes/NETOPTS sched/sched_process_exec sched/sched_process_exit; do echo 1 >"events/$e/enable"; done
	echo >trace; echo 1 >tracing_on`, "NETOPTS", netOptions)
