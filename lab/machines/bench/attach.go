package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/internal/figures"
	"github.com/volbridge/volbridge/lab/machines/kvmhost"
)

//go:embed osbrick.py
var osBrickScript string

// attachBench measures from the array's acknowledgement of a connection to the
// device.
type attachBench struct {
	*rig
	ctx     context.Context
	runs    int
	volume  string
	program *exec.Cmd // in kvm01
	orders  io.WriteCloser
	answers *json.Decoder
}

const (
	insideProgram = "/run/bench"
	attachDomain  = "attach1"
	attachXML     = "/root/attach1.xml"
	benchCA       = "/etc/volbridge/bench-ca.pem"
)

func benchAttach(ctx context.Context, r *rig, runs int) ([]figures.Row, error) {
	b := &attachBench{rig: r, ctx: ctx, runs: runs, volume: "attach1"}
	if err := b.start(); err != nil {
		return nil, errors.Join(err, b.end())
	}
	fmt.Println(attachNote)
	warm, err := b.compare("controllers connected before", byNobody, func() error { return b.controllers(ctx, r.one) })
	var cold []figures.Row
	if err == nil {
		cold, err = b.compare("no controllers", byConnect, b.disconnect)
	}
	return append(warm, cold...), errors.Join(err, b.end())
}

const attachNote = `Attaching a namespace. All times are from the array's acknowledgement of the
connection, read in the machine; the namespace is shown at that moment. The floor
is udev's link by NGUID while nobody does anything else. volbridge: until the
hook's process has ended, as libvirt waits for it. os-brick: until connect_volume
returns, in a process that has loaded it, and helped over what it does not know
of this kernel (src_addr in a controller's address). What it returns is a node
that need not have its link yet.`

// start makes the volume, and starts the bench's part in the machine.
func (b *attachBench) start() error {
	b.flash.AddVolumes("attach", 1, 64<<20)
	v, _ := b.flash.Volume(b.volume)
	nguid := flasharray.NGUID(v.Serial)
	xml := lab.TickGuest{Name: attachDomain, UUID: "6d3c1f0e-0000-4000-8000-000000000001", SerialLog: "/dev/null",
		Disks: []string{lab.BlockDisk("vda", "/dev/disk/by-id/nvme-eui."+nguid)}}.XML()
	if err := b.one.WriteFile(b.ctx, attachXML, []byte(xml), 0o644); err != nil {
		return err
	}
	nqn := kvmhost.NQN(b.one.Name())
	if err := b.startInside(spec{
		Array: b.flash.Address, ArrayCA: b.flash.CAFile(), ProxyCA: benchCA, Token: flasharray.TestToken,
		Host: b.one.Name(), Volume: b.volume, NGUID: nguid, Domain: attachDomain, XMLFile: attachXML,
		NQN: b.flash.SubsystemNQN(nqn), HostNQN: nqn, HookFile: kvmhost.HookFile,
		Portals: []string{b.target.Portal(1), b.target.Portal(2)},
	}); err != nil {
		return err
	}
	config := strings.NewReplacer(fmt.Sprintf("address = %q", b.flash.Address), fmt.Sprintf("address = %q", proxyAddress),
		b.flash.CAFile(), benchCA).Replace(b.config)
	return b.one.WriteFile(b.ctx, "/etc/volbridge/volbridge.toml", []byte(config), 0o600)
}

func (b *attachBench) startInside(s spec) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := b.one.Copy(b.ctx, self, insideProgram, 0o755); err != nil {
		return err
	}
	b.program = b.one.Command(b.ctx, insideProgram, "-inside")
	b.program.Stderr = os.Stderr
	if b.orders, err = b.program.StdinPipe(); err != nil {
		return err
	}
	out, err := b.program.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.program.Start(); err != nil {
		return err
	}
	b.answers = json.NewDecoder(bufio.NewReader(out))
	return json.NewEncoder(b.orders).Encode(s)
}

func (b *attachBench) end() error {
	if b.program == nil || b.program.Process == nil {
		return nil
	}
	err := errors.Join(b.orders.Close(), b.program.Wait())
	return errors.Join(err, b.one.WriteFile(b.ctx, "/etc/volbridge/volbridge.toml", []byte(b.config), 0o600))
}

func (b *attachBench) inside(w way) (t times, err error) {
	if _, err := fmt.Fprintln(b.orders, w); err != nil {
		return t, err
	}
	if err := b.answers.Decode(&t); err != nil {
		return t, fmt.Errorf("the bench in the machine has ended: %w", err)
	}
	if t.Error != "" {
		err = errors.New(t.Error)
	}
	return t, err
}

// measured is what one way took, from the acknowledgement on.
type measured struct {
	link, done []time.Duration
	both       []time.Duration // link and done
	behind     []time.Duration // done after link
}

// compare attaches by each way in turns, so that all meet the same machine.
func (b *attachBench) compare(how string, floor way, before func() error) ([]figures.Row, error) {
	ways := []way{floor, byVolbridge, byBrick}
	got := map[way]*measured{}
	for _, w := range ways {
		got[w] = &measured{}
	}
	for n := range b.runs + 1 {
		for _, w := range ways {
			t, err := b.once(w, before)
			if err != nil {
				return nil, fmt.Errorf("attach, %s, by %s: %w", how, w, err)
			}
			if n > 0 { // the first run has to read programs from the disk
				got[w].add(t)
			}
		}
	}
	for _, w := range ways {
		fmt.Printf("attach, %s, by %s:\n    device: %s\n    link: %s\n    device after the link: %s\n",
			how, w, figures.Spread(got[w].done), figures.Spread(got[w].link), figures.Spread(got[w].behind))
	}
	return b.rows(how, got[floor], got[byVolbridge], got[byBrick]), nil
}

func (m *measured) add(t times) {
	m.link = append(m.link, t.Linked-t.Acknowledged)
	m.done = append(m.done, t.Done-t.Acknowledged)
	m.both = append(m.both, max(t.Linked, t.Done)-t.Acknowledged)
	m.behind = append(m.behind, t.Done-t.Linked)
}

func (b *attachBench) rows(how string, floor, mine, brick *measured) []figures.Row {
	what := "attach, " + how + ": volbridge"
	took := figures.Median(mine.done)
	return []figures.Row{
		figures.Times(what, took, "the floor", figures.Median(floor.link), 1.2),
		figures.Times(what, took, "the link of the same runs", figures.Median(mine.link), 1.2),
		figures.Times(what+", device after the link", figures.Median(mine.behind), "the goal", 20*time.Millisecond, 1),
		figures.Times(what, took, "os-brick", figures.Median(brick.done), 1),
		figures.Times(what, took, "os-brick and the link", figures.Median(brick.both), 1),
	}
}

// once attaches and takes away again.
func (b *attachBench) once(w way, before func() error) (times, error) {
	if err := before(); err != nil {
		return times{}, err
	}
	t, err := b.inside(w)
	if err != nil {
		return t, err
	}
	if w == byVolbridge {
		_, err = b.inside(byReleasing)
	} else {
		err = b.flash.Disconnect(b.one.Name(), b.volume)
	}
	if err == nil {
		v, _ := b.flash.Volume(b.volume)
		_, err = b.one.Shell(b.ctx, `udevadm wait --timeout=60 --removed "$1"; udevadm settle`, "/dev/disk/by-id/nvme-eui."+flasharray.NGUID(v.Serial))
	}
	return t, err
}

func (b *attachBench) disconnect() error {
	_, err := b.one.Shell(b.ctx, "nvme disconnect-all; udevadm settle")
	return err
}
