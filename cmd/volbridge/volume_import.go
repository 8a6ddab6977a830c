package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/image"
	"github.com/volbridge/volbridge/image/deploy"
	"github.com/volbridge/volbridge/pool"
)

func volumeImportCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "write an image over a volume that is there", ArgsUsage: "POOL/VOLUME FILE",
		Description: `Writes the image to the beginning of the volume, and zeroes to the rest. Refused
when a host holds the volume, when anything on this host uses it, or when it is
smaller than the image's disk.

It is also refused when the volume is not empty, unless --overwrite is given. What
is looked at is ` + image.EmptyText + `: that finds
every partition table, file system and volume manager, but not a volume with data
in other places only. With --overwrite nothing is looked at.

A failed import does not bring back what the volume held.

` + imageHelp + `

To make a new volume from an image, see 'volbridge volume create --from'.

Examples:
  volbridge volume import fast/web debian-13.qcow2 --dry-run
  volbridge volume import fast/web old-server.vmdk --overwrite --compare`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "overwrite", Usage: "the volume may hold data, and it is lost"},
		}, imageFlags()...),
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "POOL/VOLUME", "FILE")
			if err != nil {
				return err
			}
			ref, err := parseVolumeRef(args[0])
			if err != nil {
				return helpHint(c, err)
			}
			o, err := parseImage(c, args[1])
			if err != nil {
				return err
			}
			return a.volumeImport(c.Context, ref, o, c.Bool("overwrite"))
		},
	}
}

type importJSON struct {
	volumeJSON
	Image imageJSON `json:"image"`
}

func (a *app) volumeImport(ctx context.Context, ref volumeRef, o imageOptions, overwrite bool) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	v, err := s.importable(ctx, ref)
	if err != nil {
		return err
	}
	source, err := o.examine(ctx)
	if err != nil {
		return err
	}
	if source.SizeBytes > v.SizeBytes {
		return withHint(tooSmall(source, "volume "+ref.String(), v.SizeBytes), "volbridge volume resize %s --size %dB", ref, source.SizeBytes)
	}
	b, err := s.backend(ref)
	if err != nil {
		return err
	}
	if err := s.ready(ctx, b); err != nil {
		return err
	}
	result := importJSON{volumeJSON: toVolumeJSON(v, nil), Image: o.json(source, 0)}
	if !o.DryRun {
		job := deploy.Job{Source: source, Pool: ref.Pool, Volume: ref.Volume, Identity: v.Identity, Overwrite: overwrite, Compare: o.Compare,
			Meant: func(ctx context.Context) error { return unchanged(ctx, b, v) }}
		took, err := a.deploying(ctx, ref, source, func(d *deploy.Deployer) error { return d.Import(ctx, job) })
		if err != nil {
			return err
		}
		result.Image = o.json(source, took)
		a.sayCopied(o, ref, source, took)
	} else {
		a.say("would copy %s into volume %s (%s)", sourceText(source), ref, sizeText(v.SizeBytes))
		if !overwrite {
			a.say("Whether the volume is empty is only seen when it is attached.")
		}
	}
	if a.json() {
		return a.printJSON(result)
	}
	return nil
}

// unchanged refuses a volume that was made anew since somebody looked at it.
func unchanged(ctx context.Context, b pool.Backend, seen pool.Volume) error {
	now, err := b.Lookup(ctx, seen.Name)
	if err != nil {
		return err
	}
	if now.CreationID != seen.CreationID {
		return errors.New("it was deleted and made anew by somebody else just now: look at it, and repeat the command")
	}
	return nil
}

// importable finds a volume that nobody holds. Whoever takes it after this look
// is seen when it is granted.
func (s *session) importable(ctx context.Context, ref volumeRef) (pool.Volume, error) {
	b, err := s.backend(ref)
	if err != nil {
		return pool.Volume{}, err
	}
	v, err := b.Lookup(ctx, ref.Volume)
	if err != nil {
		return v, lookupError(ref, err)
	}
	holders, err := b.Holders(ctx, ref.Volume)
	if err == nil && len(holders) > 0 {
		err = withHint(&pool.HeldError{Pool: ref.Pool, Volume: ref.Volume, Holders: holders},
			"stop that domain first; if it does not run, run 'volbridge recover' on that host")
	}
	return v, err
}
