package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/image"
	"github.com/volbridge/volbridge/image/deploy"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

// createFrom reads the flags of a volume that is made from an image; false if
// --from is not given.
func createFrom(c *cli.Context) (o imageOptions, given bool, err error) {
	if file := c.String("from"); file != "" {
		o, err = parseImage(c, file)
		return o, true, err
	}
	for _, f := range imageFlags() {
		if name := f.Names()[0]; name != "dry-run" && c.IsSet(name) {
			return o, false, helpHint(c, usagef("--%s needs --from", name))
		}
	}
	return o, false, nil
}

type createdJSON struct {
	volumeJSON
	Image imageJSON `json:"image"`
}

// volumeCreateFrom makes a volume of at least sizeBytes, and of at least the
// image's disk.
func (a *app) volumeCreateFrom(ctx context.Context, ref volumeRef, sizeBytes int64, o imageOptions) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, p, err := s.provisioner(ref)
	if err != nil {
		return err
	}
	source, err := o.examine(ctx)
	if err != nil {
		return err
	}
	if sizeBytes > 0 && sizeBytes < source.SizeBytes {
		return withHint(tooSmall(source, "--size", sizeBytes), "leave --size out for a volume as large as the image's disk")
	}
	sizeBytes = max(sizeBytes, source.SizeBytes)
	if err := s.ready(ctx, b); err != nil {
		return err
	}
	if o.DryRun {
		return a.wouldCreate(b, ref, sizeBytes, source, o)
	}
	var v pool.Volume
	r := pool.CreateRequest{Name: ref.Volume, SizeBytes: sizeBytes, CreationID: rand.Text()}
	job := deploy.Job{Source: source, Pool: ref.Pool, Volume: ref.Volume, Compare: o.Compare}
	took, err := a.deploying(ctx, ref, source, func(d *deploy.Deployer) (err error) {
		v, err = d.Create(ctx, p, r, job)
		return err
	})
	if err != nil {
		return existsHint(ref, takenBack(ctx, ref, v.Name != "", err))
	}
	if a.json() {
		return a.printJSON(createdJSON{toVolumeJSON(v, nil), o.json(source, took)})
	}
	a.say("created volume %s: %s", ref, units.FormatSize(v.SizeBytes))
	a.sayCopied(o, ref, source, took)
	return nil
}

// ready says whether a pool would work on this host, before anything is changed
// for a copy. An array that does not know the host would say so only when the
// volume is there.
func (s *session) ready(ctx context.Context, b pool.Backend) error {
	host, err := s.host()
	if err != nil {
		return err
	}
	err = pool.Ready(ctx, b, host)
	if err == nil || ctx.Err() != nil {
		return err
	}
	err = fmt.Errorf("%w; nothing was changed", err)
	if errors.Is(err, pool.ErrUnreachable) {
		return err // not refused: nothing is known
	}
	return withCode(exitRefused, err)
}

// takenBack adds to a copy into a new volume that failed what became of the
// volume, where nothing is left of it.
func takenBack(ctx context.Context, ref volumeRef, made bool, err error) error {
	if err == nil || exitCode(ctx, err) != exitRolledBack {
		return err
	}
	why, end := err.Error(), "was not made"
	if ctx.Err() != nil {
		why = "interrupted"
	}
	var failed *deploy.FailedError
	switch {
	case errors.As(err, &failed) && failed.Replaced:
		end = "is another one by now, which somebody else made and which stays; the one of this copy is gone"
	case made:
		end = "was deleted again"
	}
	return &rewordedError{fmt.Sprintf("%s; volume %s %s", why, ref, end), err}
}

// rewordedError is another error in words of its own.
type rewordedError struct {
	text string
	err  error
}

func (e *rewordedError) Error() string { return e.text }
func (e *rewordedError) Unwrap() error { return e.err }

func (a *app) wouldCreate(b pool.Backend, ref volumeRef, sizeBytes int64, s image.Source, o imageOptions) error {
	sizeBytes = roundedSize(b, sizeBytes)
	if a.json() {
		v := pool.Volume{Pool: ref.Pool, Name: ref.Volume, SizeBytes: sizeBytes}
		return a.printJSON(createdJSON{toVolumeJSON(v, nil), o.json(s, 0)})
	}
	a.say("would create volume %s: %s", ref, units.FormatSize(sizeBytes))
	a.say("would copy %s into it, about %s of data", sourceText(s), units.RoughSize(s.DataBytes))
	return nil
}

// sizeFlagGiven reads --size, which may be left out beside --from.
func sizeFlagGiven(c *cli.Context) (int64, error) {
	if c.String("size") == "" {
		return 0, nil
	}
	return sizeOption(c)
}
