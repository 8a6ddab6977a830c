package main

import (
	"context"
	"errors"
	"os"

	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/flash"
	"github.com/volbridge/volbridge/lab/machines/kvmhost"
)

// rig is an array and two KVM hosts with volbridge.
type rig struct {
	lab              *machines.Lab
	target, one, two *machines.Node
	flash            *flash.Running
	gate             *gate
	config           string
}

func startRig(ctx context.Context) (*rig, error) {
	const source = kvmhost.Source(".")
	list := []machines.Machine{{Name: "array"}}
	for _, name := range []string{"kvm01", "kvm02"} {
		list = append(list, source.Machine(name))
	}
	l, err := machines.Start(ctx, machines.Options{Verbose: os.Stderr, Machines: list})
	if err != nil {
		return nil, err
	}
	r := &rig{lab: l, target: l.Node("array"), one: l.Node("kvm01"), two: l.Node("kvm02")}
	if err := r.fill(ctx, source); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rig) hosts() []*machines.Node { return []*machines.Node{r.one, r.two} }

func (r *rig) fill(ctx context.Context, source kvmhost.Source) (err error) {
	var opened error
	nqns := map[*machines.Node]string{}
	for _, h := range r.hosts() {
		nqns[h] = kvmhost.NQN(h.Name())
	}
	r.flash, err = flash.Start(ctx, r.lab, flash.Options{
		Options: flasharray.Options{Name: "flash1"}, Address: "10.78.0.2", Data: r.target, Hosts: nqns,
		Around: func(d *flash.DataPath) flasharray.DataPath {
			r.gate, opened = openGate(ctx, r.target, d)
			return r.gate
		},
	})
	if err := errors.Join(err, opened); err != nil {
		return err
	}
	r.config = r.flash.PoolConfig("flash", "eradicate = true")
	for _, h := range r.hosts() {
		if err := source.Install(ctx, h, r.config); err != nil {
			return err
		}
	}
	return nil
}

// controllers connects a host to both portals where it is not yet.
func (r *rig) controllers(ctx context.Context, h *machines.Node) error {
	_, err := h.Shell(ctx, `modprobe nvme-tcp
		for portal in "$2" "$3"; do
			grep -qs "traddr=$portal," /sys/class/nvme/*/address || nvme connect -t tcp -a "$portal" -s 4420 -n "$1"
		done`, r.flash.SubsystemNQN(kvmhost.NQN(h.Name())), r.target.Portal(1), r.target.Portal(2))
	return err
}

func (r *rig) close() error {
	var errs []error
	if r.flash != nil {
		errs = append(errs, r.flash.Close())
	}
	if r.gate != nil {
		errs = append(errs, r.gate.close())
	}
	return errors.Join(append(errs, r.lab.Close())...)
}
