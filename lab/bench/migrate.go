package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/internal/figures"
)

const (
	migrateRuns  = 5
	migrateBytes = 256 << 20
	migrateGuest = "web1"
)

// benchMigrate moves the same guest in turns by `volbridge migrate` and by a
// hand-written `virsh migrate --copy-storage-all` to a device that is ready.
// The second knows nothing of pools, grants or recovery, and its preparation is
// not counted.
func benchMigrate(ctx context.Context) ([]figures.Row, error) {
	l, err := startHosts(ctx, "kvm01", "kvm02")
	if err != nil {
		return nil, err
	}
	b := &mover{ctx: ctx, lab: l, one: l.Host("kvm01"), two: l.Host("kvm02")}
	rows, err := b.rows()
	return rows, errors.Join(err, l.Close())
}

type mover struct {
	ctx      context.Context
	lab      *lab.Lab
	one, two *lab.Host
}

func (b *mover) rows() ([]figures.Row, error) {
	var mine, theirs []time.Duration
	for range migrateRuns {
		d, err := b.byHand()
		if err != nil {
			return nil, fmt.Errorf("by hand: %w", err)
		}
		theirs = append(theirs, d)
		if d, err = b.byVolbridge(); err != nil {
			return nil, fmt.Errorf("volbridge: %w", err)
		}
		mine = append(mine, d)
	}
	return []figures.Row{figures.Times("volbridge migrate, qcow2 file to raw device, total time",
		figures.Median(mine), "virsh migrate --copy-storage-all by hand", figures.Median(theirs), 1.05)}, nil
}

// start boots the guest from a fresh image on kvm01.
func (b *mover) start() error {
	return b.startFrom(func(path string) error { return lab.WriteTickImage(b.ctx, path, "qcow2", migrateBytes, 1) })
}

// startFrom boots it from the qcow2 image that make makes.
func (b *mover) startFrom(make func(path string) error) error {
	const path = "/var/lib/libvirt/images/web1.qcow2"
	outside := filepath.Join(b.one.ImagesDir(), filepath.Base(path))
	if err := os.Remove(outside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := make(outside); err != nil {
		return err
	}
	log := b.lab.SerialLog(migrateGuest)
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	xml := lab.TickGuest{Name: migrateGuest, UUID: "11111111-2222-3333-4444-555555555555",
		Disks: []string{lab.FileDisk("vda", "qcow2", path)}, SerialLog: log}.XML()
	if err := b.one.WriteFile("/run/web1.xml", []byte(xml), 0o600); err != nil {
		return err
	}
	if _, err := b.one.Run(b.ctx, "virsh", "create", "/run/web1.xml"); err != nil {
		return err
	}
	_, err := lab.WaitTick(b.ctx, log, 5)
	return err
}

func (b *mover) byVolbridge() (time.Duration, error) {
	if err := b.start(); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := b.one.Run(b.ctx, "volbridge", "migrate", migrateGuest, b.two.URI(), "--to-pool", "fast"); err != nil {
		return 0, err
	}
	took := time.Since(start)
	_, err := b.two.Run(b.ctx, "virsh", "destroy", migrateGuest)
	if err != nil {
		return 0, err
	}
	_, err = b.two.Run(b.ctx, "volbridge", "volume", "delete", "--yes", "fast/web1-vda")
	return took, err
}

// byHand attaches a loop device on kvm02 and names it in the XML, as an
// administrator would.
func (b *mover) byHand() (time.Duration, error) {
	if err := b.start(); err != nil {
		return 0, err
	}
	raw := filepath.Join(b.lab.SharedDir(), "by-hand.raw")
	if err := os.WriteFile(raw, nil, 0o600); err != nil {
		return 0, err
	}
	if err := os.Truncate(raw, migrateBytes); err != nil {
		return 0, err
	}
	loop, err := b.two.Run(b.ctx, "losetup", "--find", "--show", "--direct-io=on", raw)
	if err != nil {
		return 0, err
	}
	loop = strings.TrimSpace(loop)
	defer b.two.Run(b.ctx, "losetup", "--detach", loop)
	xml, err := b.one.Run(b.ctx, "virsh", "dumpxml", "--migratable", migrateGuest)
	if err != nil {
		return 0, err
	}
	xml = strings.NewReplacer("type='file' device='disk'", "type='block' device='disk'", "type='qcow2'", "type='raw' cache='none' io='native'",
		"file='/var/lib/libvirt/images/web1.qcow2'", "dev='"+loop+"'").Replace(xml)
	if err := b.one.WriteFile("/run/by-hand.xml", []byte(xml), 0o600); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := b.one.Run(b.ctx, "virsh", "migrate", "--live", "--copy-storage-all", "--migrate-disks", "vda",
		"--xml", "/run/by-hand.xml", migrateGuest, b.two.URI()); err != nil {
		return 0, err
	}
	took := time.Since(start)
	_, err = b.two.Run(b.ctx, "virsh", "destroy", migrateGuest)
	return took, err
}
