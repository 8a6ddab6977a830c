package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

func sizeFlag(usage string) *cli.StringFlag {
	return &cli.StringFlag{Name: "size", Usage: usage}
}

// sizeOption reads --size, which must be there.
func sizeOption(c *cli.Context) (int64, error) {
	text := c.String("size")
	if text == "" {
		return 0, helpHint(c, usagef("--size is missing"))
	}
	size, err := units.ParseSize(text)
	if err == nil && size == 0 {
		err = fmt.Errorf("size %q: a volume needs at least one byte", text)
	}
	if err != nil {
		return 0, helpHint(c, usagef("--size: %s", err))
	}
	return size, nil
}

func volumeCreateCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "make a new volume, empty or from an image", ArgsUsage: "POOL/VOLUME",
		Description: `The pool may round the size up; what was made is printed. No host can reach the
volume until a domain that uses it starts.

With --from the volume begins with the content of an image, and is at least as
large as the disk in it; --size makes it larger. If the copy fails, the volume is
deleted again.

` + imageHelp + `

Examples:
  volbridge volume create fast/web --size 10GiB
  volbridge volume create fast/web --from debian-13.qcow2 --size 20GiB`,
		Flags: append([]cli.Flag{
			sizeFlag("least `SIZE` with its unit, such as 10GiB"),
			&cli.StringFlag{Name: "from", Usage: "copy the image `FILE` into it"},
		}, imageFlags()...),
		Action: func(c *cli.Context) error {
			ref, err := volumeArgument(c)
			if err != nil {
				return err
			}
			from, given, err := createFrom(c)
			if err != nil {
				return err
			}
			if given {
				size, err := sizeFlagGiven(c)
				if err != nil {
					return err
				}
				return a.volumeCreateFrom(c.Context, ref, size, from)
			}
			size, err := sizeOption(c)
			if err != nil {
				return err
			}
			return a.volumeCreate(c.Context, ref, size, c.Bool("dry-run"))
		},
	}
}

func (a *app) volumeCreate(ctx context.Context, ref volumeRef, sizeBytes int64, dryRun bool) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, p, err := s.provisioner(ref)
	if err != nil {
		return err
	}
	if dryRun {
		return a.wouldCreateEmpty(ctx, b, ref, sizeBytes)
	}
	v, err := p.Create(ctx, pool.CreateRequest{Name: ref.Volume, SizeBytes: sizeBytes, CreationID: rand.Text()})
	if err != nil {
		return existsHint(ref, err)
	}
	if a.json() {
		return a.printJSON(toVolumeJSON(v, nil))
	}
	a.say("created volume %s: %s", ref, units.FormatSize(v.SizeBytes))
	return nil
}

type wouldCreateJSON struct {
	volumeJSON
	DryRun bool `json:"dry_run"`
}

func (a *app) wouldCreateEmpty(ctx context.Context, b pool.Backend, ref volumeRef, sizeBytes int64) error {
	switch _, err := b.Lookup(ctx, ref.Volume); {
	case err == nil:
		return existsHint(ref, fmt.Errorf("create volume %s: %w", ref, pool.ErrExists))
	case !errors.Is(err, pool.ErrNotFound):
		return err
	}
	v := pool.Volume{Pool: ref.Pool, Name: ref.Volume, SizeBytes: roundedSize(b, sizeBytes)}
	if a.json() {
		return a.printJSON(wouldCreateJSON{toVolumeJSON(v, nil), true})
	}
	a.say("would create volume %s: %s", ref, units.FormatSize(v.SizeBytes))
	return nil
}

// roundedSize is the size that a volume of at least sizeBytes would have.
func roundedSize(b pool.Backend, sizeBytes int64) int64 {
	if r, ok := b.(pool.Rounder); ok {
		return r.RoundSize(sizeBytes)
	}
	return sizeBytes
}

func existsHint(ref volumeRef, err error) error {
	if errors.Is(err, pool.ErrExists) {
		return withHint(err, "'volbridge volume info %s' shows it; nothing was changed", ref)
	}
	return err
}
