package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"
	"github.com/vbauerster/mpb/v8"

	"github.com/volbridge/volbridge/image"
	"github.com/volbridge/volbridge/image/deploy"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/migrate"
)

// imageHelp is what both commands that copy an image say of it.
const imageHelp = `The image is a file: raw, qcow2 (also compressed), vmdk, vhdx or vdi. Without
--format its first bytes say which; say it where the file comes from people whom
you do not trust. A file that begins like none of them is raw, unless its name or
its size speaks against that: then --format raw must be said. Refused are images
that need another file (a backing file, a parent, an external data file), that are
encrypted, or that are cut off.

The first and the last MiB of the image are written last, when the rest is on the
storage and flushed: a copy that fails, is killed or loses power leaves nothing
that looks like a disk.`

// imageFlags are those of both commands.
func imageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "format", Usage: "`FORMAT` of the image: raw, qcow2, vmdk, vhdx or vdi"},
		&cli.BoolFlag{Name: "compare", Usage: "read everything back afterwards and compare it with the image"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only look, and say what would be done"},
	}
}

// imageOptions say how an image is copied.
type imageOptions struct {
	File    string
	Format  image.Format
	Compare bool
	DryRun  bool
}

func parseImage(c *cli.Context, file string) (imageOptions, error) {
	format, err := image.ParseFormat(c.String("format"))
	if err != nil {
		return imageOptions{}, helpHint(c, usagef("--format: %s", err))
	}
	return imageOptions{File: file, Format: format, Compare: c.Bool("compare"), DryRun: c.Bool("dry-run")}, nil
}

// examine looks at the image.
func (o imageOptions) examine(ctx context.Context) (image.Source, error) {
	s, err := image.Examine(ctx, image.System(), o.File, o.Format)
	if errors.Is(err, fs.ErrNotExist) {
		err = withCode(exitNotFound, err)
	}
	return s, err
}

// imageJSON is a copied image as programs see it.
type imageJSON struct {
	Path      string  `json:"path"`
	Format    string  `json:"format"`
	SizeBytes int64   `json:"size_bytes"` // of the disk in it
	Compared  bool    `json:"compared"`
	Seconds   float64 `json:"seconds,omitempty"`
	DryRun    bool    `json:"dry_run"`
}

func (o imageOptions) json(s image.Source, took time.Duration) imageJSON {
	return imageJSON{s.Path, string(s.Format), s.SizeBytes, o.Compare && !o.DryRun, took.Round(time.Millisecond).Seconds(), o.DryRun}
}

// sourceText is an image for people.
func sourceText(s image.Source) string {
	return fmt.Sprintf("image %s (%s, %s)", filepath.Base(s.Path), s.Format, sizeText(s.SizeBytes))
}

// deploying runs work with everything that a copy needs of this host, and says
// how long it took.
func (a *app) deploying(ctx context.Context, ref volumeRef, s image.Source, work func(*deploy.Deployer) error) (took time.Duration, err error) {
	h, err := a.openHost(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	defer a.inhibit(fmt.Sprintf("copying an image into volume %s", ref))()
	watch, closeView := a.imageView()
	defer closeView()
	began := time.Now()
	err = work(&deploy.Deployer{
		Tool: image.System(), Lender: h.bridge, Records: h.store,
		Lock:        h.lockCopy,
		NewUUID:     uuid.NewString,
		UndoTimeout: h.config.Timeouts.Release + h.config.Timeouts.Device,
		Watch:       watch,
	})
	return time.Since(began), deployError(ref, s, err)
}

// lockCopy takes the lock that tells recovery that a copy lives. Its owner never
// comes again, so both of its lock files go with it.
func (h *host) lockCopy(owner string) (release func() error, err error) {
	path := filepath.Join(h.config.RunDir, migrate.LockName(owner))
	unlock, err := tryLock(path)
	if err != nil {
		return nil, err
	}
	return func() error { return errors.Join(os.Remove(path), h.locks().Forget(owner), unlock()) }, nil
}

// deployError says what to do next.
func deployError(ref volumeRef, s image.Source, err error) error {
	var notEmpty *deploy.NotEmptyError
	var failed *deploy.FailedError
	switch {
	case errors.As(err, &notEmpty):
		return withHint(err, "if nothing in it is needed: volbridge volume import %s %s --overwrite", ref, s.Path)
	case errors.As(err, &failed) && failed.Overwritten:
		return withHint(err, "once the cause is gone: volbridge volume import %s %s --overwrite", ref, s.Path)
	}
	return err
}

// imageView chooses how to show progress: a bar for a person, lines for a log,
// nothing where quiet was asked for.
func (a *app) imageView() (watch func(image.Progress), done func()) {
	what := func(p image.Progress) string {
		if p.Comparing {
			return "compared"
		}
		return "copied"
	}
	switch {
	case a.global.Quiet:
		return nil, func() {}
	case a.errTerminal:
		b := newProgressBars(a.err)
		return func(p image.Progress) { b.one(what(p), p.DoneBytes, p.AllBytes) }, b.close
	}
	lines := newProgressLines(a.err)
	return func(p image.Progress) { lines.say(what(p), p.DoneBytes, p.AllBytes) }, func() {}
}

// one draws a single bar.
func (b *progressBars) one(name string, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.progress == nil {
		b.progress = mpb.New(mpb.WithOutput(b.out), mpb.WithWidth(40))
	}
	b.set(name, done, total)
}

// sayCopied tells a person how a copy ended.
func (a *app) sayCopied(o imageOptions, ref volumeRef, s image.Source, took time.Duration) {
	compared := ""
	if o.Compare {
		compared = ", and compared it"
	}
	a.say("copied %s into volume %s in %s%s", sourceText(s), ref, took.Round(100*time.Millisecond), compared)
}

// tooSmall refuses a volume that ends before the image does.
func tooSmall(s image.Source, what string, sizeBytes int64) error {
	return withCode(exitRefused, fmt.Errorf("%s has %s, which is more than the %s of %s; nothing was changed",
		sourceText(s), units.FormatSize(s.SizeBytes), units.FormatSize(sizeBytes), what))
}
