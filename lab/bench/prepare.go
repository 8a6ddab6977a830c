package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/internal/figures"
)

const (
	prepareRuns = 15
	manyDisks   = 16
	hookPath    = "/etc/libvirt/hooks/qemu.d/50-volbridge"
)

// benchPrepare times `prepare` of one and of many disks of a dir pool.
func benchPrepare(ctx context.Context) ([]figures.Row, error) {
	l, err := startHosts(ctx, "kvm01")
	if err != nil {
		return nil, err
	}
	rows, err := prepareRows(ctx, l.Host("kvm01"))
	return rows, errors.Join(err, l.Close())
}

func prepareRows(ctx context.Context, h *lab.Host) ([]figures.Row, error) {
	for i := range manyDisks {
		if _, err := h.Run(ctx, "volbridge", "volume", "create", fmt.Sprintf("fast/v%d", i), "--size", "8MiB"); err != nil {
			return nil, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// Inside the host, so that entering it is not measured.
	if err := copyTo(h, self, "/run/bench"); err != nil {
		return nil, err
	}
	out, err := h.Command(ctx, "/run/bench", "-inside", "prepare").Output()
	if err != nil {
		return nil, fmt.Errorf("on %s: %w\n%s", h.Name(), err, out)
	}
	var t prepareTimes
	if err := json.Unmarshal(out, &t); err != nil {
		return nil, err
	}
	return []figures.Row{figures.Times(fmt.Sprintf("prepare of %d disks of a dir pool", manyDisks), t.Many, "one disk", t.One, 3)}, nil
}

type prepareTimes struct{ One, Many time.Duration }

// measureInside runs on the host and prints what it measured as JSON.
func measureInside(ctx context.Context, what string) error {
	if what != "prepare" {
		return fmt.Errorf("nothing is called %q", what)
	}
	var one, many []time.Duration
	for range prepareRuns {
		for _, m := range []struct {
			disks int
			into  *[]time.Duration
		}{{1, &one}, {manyDisks, &many}} {
			d, err := prepareAndRelease(ctx, m.disks)
			if err != nil {
				return err
			}
			*m.into = append(*m.into, d)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(prepareTimes{figures.Median(one), figures.Median(many)})
}

func prepareAndRelease(ctx context.Context, disks int) (time.Duration, error) {
	var list []string
	for i := range disks {
		list = append(list, lab.BlockDisk(fmt.Sprintf("vd%c", 'a'+i), fmt.Sprintf("/dev/volbridge/fast/v%d", i)))
	}
	xml := lab.TickGuest{Name: "web1", UUID: "11111111-2222-3333-4444-555555555555", Disks: list, SerialLog: "/dev/null"}.XML()
	d, _, err := once(ctx, xml, hookPath, "web1", "prepare", "begin", "-")
	if err != nil {
		return 0, err
	}
	_, _, err = once(ctx, xml, hookPath, "web1", "release", "end", "-")
	return d, err
}

// startHosts starts a lab whose hosts have volbridge and the pool fast.
func startHosts(ctx context.Context, names ...string) (*lab.Lab, error) {
	return startReleases(ctx, "", names...)
}

// startReleases is startHosts for hosts of another release.
func startReleases(ctx context.Context, release string, names ...string) (*lab.Lab, error) {
	hook, err := filepath.Abs("bin/volbridge-hook")
	if err != nil {
		return nil, err
	}
	var hosts []lab.HostOptions
	for _, n := range names {
		hosts = append(hosts, lab.HostOptions{Name: n, Release: release, HookDir: map[string]string{"50-volbridge": hook}})
	}
	l, err := lab.Start(ctx, lab.Options{Hosts: hosts})
	if err != nil {
		return nil, err
	}
	for _, h := range l.Hosts() {
		if err := install(ctx, l, h); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

func install(ctx context.Context, l *lab.Lab, h *lab.Host) error {
	pool := filepath.Join(l.SharedDir(), "fast")
	config := fmt.Sprintf("[pool.fast]\ntype = \"dir\"\npath = %q\n", pool)
	if err := errors.Join(
		os.MkdirAll(pool, 0o755),
		copyTo(h, "bin/volbridge", "/usr/bin/volbridge"),
		h.WriteFile("/etc/volbridge/volbridge.toml", []byte(config), 0o600),
	); err != nil {
		return err
	}
	_, err := h.Run(ctx, "volbridge", "pool", "init", "fast")
	return err
}

func copyTo(h *lab.Host, from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return h.WriteFile(to, data, 0o755)
}
