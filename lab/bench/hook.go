package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/internal/figures"
)

// bare is the reference: the least that a static Go program can do as a hook.
const bare = `package main

import (
	"io"
	"os"
)

func main() {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		os.Exit(1)
	}
}
`

const hookRuns = 201

// benchHook times the hook for a domain without a managed disk.
func benchHook(ctx context.Context) ([]figures.Row, error) {
	dir, err := os.MkdirTemp("", "volbridge-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	reference, err := buildBare(ctx, dir)
	if err != nil {
		return nil, err
	}
	xml := unmanagedXML()
	var mine, theirs []time.Duration
	var memoryKiB int64
	for range hookRuns { // in turns, so that both meet the same machine
		d, _, err := once(ctx, xml, reference)
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, d)
		d, kib, err := once(ctx, xml, "bin/volbridge-hook", "web1", "prepare", "begin", "-")
		if err != nil {
			return nil, err
		}
		mine = append(mine, d)
		memoryKiB = max(memoryKiB, kib)
	}
	const limitKiB = 20 << 10
	return []figures.Row{
		figures.Times(fmt.Sprintf("hook, domain without a managed disk (%d lines of XML)", strings.Count(xml, "\n")), figures.Median(mine),
			"a static Go program that reads stdin", figures.Median(theirs), 1.5),
		{What: "hook, memory", Value: fmt.Sprintf("%.1f MiB at most", float64(memoryKiB)/1024), Reference: "20 MiB", Ratio: float64(memoryKiB) / limitKiB, Goal: 1},
	}, nil
}

func buildBare(ctx context.Context, dir string) (string, error) {
	src, out := filepath.Join(dir, "bare.go"), filepath.Join(dir, "bare")
	if err := os.WriteFile(src, []byte(bare), 0o600); err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, src)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the reference: %w\n%s", err, msg)
	}
	return out, nil
}

// once runs a program and returns its time and its peak memory in KiB.
func once(ctx context.Context, stdin, name string, args ...string) (time.Duration, int64, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdin = strings.NewReader(stdin)
	start := time.Now()
	out, err := c.CombinedOutput()
	d := time.Since(start)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return d, c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss, nil
}

// unmanagedXML is a domain of ordinary length with two disks in files.
func unmanagedXML() string {
	disks := []string{
		lab.FileDisk("vda", "qcow2", "/var/lib/libvirt/images/a.qcow2"),
		lab.FileDisk("vdb", "raw", "/var/lib/libvirt/images/b.raw"),
	}
	for i := range 40 {
		disks = append(disks, fmt.Sprintf("<controller type='pci' index='%d' model='pcie-root-port'>\n      <model name='pcie-root-port'/>\n      <target chassis='%d' port='0x10'/>\n      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0'/>\n    </controller>", i+1, i+1))
	}
	return lab.TickGuest{Name: "web1", UUID: "11111111-2222-3333-4444-555555555555", Disks: disks, SerialLog: "/dev/null"}.XML()
}
