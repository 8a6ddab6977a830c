package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/internal/figures"
)

const (
	thinRuns  = 3
	thinData  = 100 << 20
	thinLarge = 60 << 30
	thinSmall = 1 << 30
)

// benchThin copies a running guest's thin disk into a pool: a large one and a
// small one with the same data, for two generations of libvirt.
func benchThin(ctx context.Context) ([]figures.Row, error) {
	var rows []figures.Row
	for _, release := range []string{"", lab.Trixie} {
		more, err := thinOn(ctx, release)
		if err != nil {
			return rows, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func thinOn(ctx context.Context, release string) ([]figures.Row, error) {
	l, err := startReleases(ctx, release, "kvm01", "kvm02")
	if err != nil {
		return nil, err
	}
	b := &mover{ctx: ctx, lab: l, one: l.Host("kvm01"), two: l.Host("kvm02")}
	name := "Debian 12"
	if release == lab.Trixie {
		name = "Debian 13"
	}
	rows, err := b.thin(name)
	return rows, errors.Join(err, l.Close())
}

func (b *mover) thin(name string) ([]figures.Row, error) {
	var large, small []time.Duration
	var allocated int64
	for range thinRuns {
		for _, m := range []struct {
			sizeBytes int64
			into      *[]time.Duration
		}{{thinLarge, &large}, {thinSmall, &small}} {
			d, bytes, err := b.thinCopy(m.sizeBytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			*m.into = append(*m.into, d)
			if m.sizeBytes == thinLarge {
				allocated = bytes
			}
		}
	}
	return []figures.Row{
		figures.Times(name+": volbridge migrate, 60 GiB with 100 MiB of data, total time", figures.Median(large),
			"1 GiB with the same data", figures.Median(small), 2),
		{What: name + ": allocated on the target", Value: fmt.Sprintf("%d MiB", allocated>>20), Reference: fmt.Sprintf("%d MiB of data", thinData>>20),
			Ratio: float64(allocated) / thinData, Goal: 1.2},
	}, nil
}

// thinCopy moves a guest with a thin disk, and says how long that took and how
// much is allocated afterwards.
func (b *mover) thinCopy(sizeBytes int64) (took time.Duration, allocatedBytes int64, err error) {
	if err := b.startFrom(func(path string) error { return thinImage(b.ctx, path, sizeBytes) }); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if _, err := b.one.Run(b.ctx, "volbridge", "migrate", migrateGuest, b.two.URI(), "--to-pool", "fast"); err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(b.lab.SharedDir(), "fast", migrateGuest+"-vda", "disk.raw"), &st); err != nil {
		return 0, 0, err
	}
	if _, err := b.two.Run(b.ctx, "virsh", "destroy", migrateGuest); err != nil {
		return 0, 0, err
	}
	_, err = b.two.Run(b.ctx, "volbridge", "volume", "delete", "--yes", "fast/"+migrateGuest+"-vda")
	return took, st.Blocks * 512, err
}

// thinImage is a tick image of which thinData bytes are data.
func thinImage(ctx context.Context, path string, sizeBytes int64) error {
	raw := path + ".raw"
	defer os.Remove(raw)
	if err := lab.WriteTickImage(ctx, raw, "raw", sizeBytes, 1); err != nil {
		return err
	}
	f, err := os.OpenFile(raw, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// WriteTickImage has written some of it.
	if _, err := io.CopyN(io.NewOffsetWriter(f, thinSmall/2), rand.Reader, thinData-lab.MinTickImageBytes); err != nil {
		return err
	}
	return convert(ctx, raw, path)
}
