package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/internal/figures"
)

const (
	deployRuns  = 9
	deployBytes = 2 << 30
	// The image holds data in every other piece of this size.
	deployPiece = 16 << 20
)

// benchDeploy makes a volume from a sparse qcow2 image, and copies the same
// image to a device that is ready by qemu-img alone, in turns. Making, attaching
// and flushing that device is not counted for qemu-img.
func benchDeploy(ctx context.Context) ([]figures.Row, error) {
	l, err := startHosts(ctx, "kvm01")
	if err != nil {
		return nil, err
	}
	b := &deployer{ctx: ctx, host: l.Host("kvm01"), image: filepath.Join(l.SharedDir(), "image.qcow2"), target: filepath.Join(l.SharedDir(), "target.raw")}
	rows, err := b.rows()
	return rows, errors.Join(err, l.Close())
}

type deployer struct {
	ctx           context.Context
	host          *lab.Host
	image, target string
}

func (b *deployer) rows() ([]figures.Row, error) {
	if err := halfFull(b.ctx, b.image); err != nil {
		return nil, err
	}
	ways := []struct {
		name string
		run  func() (time.Duration, error)
		took []time.Duration
	}{
		{"volbridge", b.byVolbridge, nil},
		{"qemu-img convert", func() (time.Duration, error) { return b.byTool() }, nil},
		{"qemu-img convert -t none -W -m 16", func() (time.Duration, error) { return b.byTool("-t", "none", "-W", "-m", "16") }, nil},
	}
	for range deployRuns {
		for i := range ways {
			d, err := ways[i].run()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", ways[i].name, err)
			}
			ways[i].took = append(ways[i].took, d)
		}
	}
	mine := figures.Median(ways[0].took)
	var rows []figures.Row
	for _, w := range ways[1:] {
		rows = append(rows, figures.Times("volume create --from a 2 GiB qcow2 with 1 GiB of data", mine, w.name, figures.Median(w.took), 1/0.95))
	}
	return rows, nil
}

// halfFull makes the image.
func halfFull(ctx context.Context, path string) error {
	raw := path + ".raw"
	defer os.Remove(raw)
	f, err := os.Create(raw)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(deployBytes); err != nil {
		return err
	}
	for at := int64(0); at < deployBytes; at += 2 * deployPiece {
		if _, err := io.CopyN(io.NewOffsetWriter(f, at), rand.Reader, deployPiece); err != nil {
			return err
		}
	}
	return convert(ctx, raw, path)
}

// convert makes a qcow2 image of a raw one.
func convert(ctx context.Context, raw, path string) error {
	if out, err := exec.CommandContext(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path).CombinedOutput(); err != nil {
		return fmt.Errorf("make image %s: %w: %s", path, err, out)
	}
	return nil
}

func (b *deployer) byVolbridge() (time.Duration, error) {
	d, err := b.timed("volbridge", "-q", "volume", "create", "fast/deployed", "--from", b.image)
	if err != nil {
		return 0, err
	}
	_, err = b.host.Run(b.ctx, "volbridge", "volume", "delete", "--yes", "fast/deployed")
	return d, err
}

func (b *deployer) byTool(options ...string) (d time.Duration, err error) {
	f, err := os.Create(b.target)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.Remove(b.target)) }()
	if err := errors.Join(f.Truncate(deployBytes), f.Close()); err != nil {
		return 0, err
	}
	loop, err := b.host.Run(b.ctx, "losetup", "--find", "--show", "--direct-io=on", b.target)
	if err != nil {
		return 0, err
	}
	loop = strings.TrimSpace(loop)
	defer func() {
		_, detached := b.host.Run(b.ctx, "losetup", "--detach", loop)
		err = errors.Join(err, detached)
	}()
	args := append([]string{"qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw"}, options...)
	return b.timed(append(args, b.image, loop)...)
}

// timed runs a command with nothing else waiting to be written.
func (b *deployer) timed(args ...string) (time.Duration, error) {
	if _, err := b.host.Run(b.ctx, "sync"); err != nil {
		return 0, err
	}
	start := time.Now()
	_, err := b.host.Run(b.ctx, args[0], args[1:]...)
	return time.Since(start), err
}
