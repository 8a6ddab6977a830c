package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/migrate"
	"github.com/volbridge/volbridge/migrate/daemon"
)

const recoverHelp = `Returns what a killed command, a killed hook or a power cut has left on this
host: grants and devices of domains that never arrived, or that ran before the
last boot, and volumes of migrations and of copies of images that did not end. A
migration whose guest has arrived is finished.

Where a guest runs, libvirt is asked; what cannot be known is left as it is and
reported. A pool that cannot be looked at is reported as unknown: the command then
ends with 1, or with 6 if something is known to be left. Running it twice, or for nothing, does no harm. It is run at boot, by
a timer, and by the hook when it could not finish.

Example:

  volbridge recover --dry-run`

type recoverOptions struct {
	dryRun     bool
	abandon    int64         // the number of a migration, 0 for none
	pendingAge time.Duration // negative: as configured
	replaces   string        // the product UUID of the machine that wrote the records, "" for this one
}

func recoverCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "recover",
		Usage:       "return what a crash has left",
		Description: recoverHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show what would be done, and change nothing"},
			&cli.Int64Flag{Name: "abandon", Usage: "close the record of migration `NUMBER`, which cannot be judged, and keep every volume"},
			&cli.StringFlag{Name: "replaces", Usage: "take over the records of the machine with the product UUID `UUID`, which is off for good and whose system this one runs now"},
			&cli.DurationFlag{Name: "pending-older-than", Usage: "take back arrivals that were made ready `TIME` ago and never came; without it, pending_age of the configuration", Value: -1, DefaultText: "pending_age"},
		},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			o := recoverOptions{dryRun: c.Bool("dry-run"), abandon: c.Int64("abandon"), pendingAge: c.Duration("pending-older-than"), replaces: c.String("replaces")}
			if o.dryRun && o.replaces != "" {
				return usagef("--replaces changes whose the records are, and --dry-run changes nothing: leave one out")
			}
			return a.recover(c.Context, o)
		},
	}
}

// errLeft is the result of a recovery that could not do everything.
var errLeft = errors.New("something is left")

// errUnknown is the result of a recovery that found nothing left, but could not
// look everywhere.
var errUnknown = errors.New("whether something is left is not known: see above, and run it again once the cause is gone")

func (a *app) recover(ctx context.Context, o recoverOptions) (err error) {
	h, err := a.openHost(ctx, state.Replacing(o.replaces))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	r := a.recoverer(ctx, h, o)
	if r.Local != nil {
		defer r.Local.Close()
	}
	findings, err := findings(ctx, r, o)
	if err != nil {
		return err
	}
	if err := a.printFindings(findings); err != nil {
		return err
	}
	return leftover(findings)
}

// findings recovers everything, or abandons one migration.
func findings(ctx context.Context, r *migrate.Recoverer, o recoverOptions) ([]migrate.Finding, error) {
	if o.abandon == 0 {
		return r.Recover(ctx)
	}
	f, err := r.Abandon(ctx, o.abandon)
	if err != nil {
		return nil, err
	}
	return []migrate.Finding{f}, nil
}

func (a *app) recoverer(ctx context.Context, h *host, o recoverOptions) *migrate.Recoverer {
	r := &migrate.Recoverer{
		Host: h.self, BootID: h.bootID, PendingAge: h.config.Timeouts.PendingAge, DryRun: o.dryRun, Now: time.Now,
		Dial:  daemon.Dial,
		Store: h.store, Copies: h.store, Release: h.bridge.ReleaseAttachment, LockDomain: h.locks().Domain,
		Pools: h.pools.Open, PoolNames: h.pools.Names(),
		Mover: func(src, dst migrate.Hypervisor) *migrate.Mover { return a.mover(h, src, dst) },
		Claim: func(uuid string) (func() error, bool, error) {
			return claim(filepath.Join(h.config.RunDir, migrate.LockName(uuid)))
		},
		Limit: h.config.Timeouts.Migrate,
	}
	if o.pendingAge >= 0 {
		r.PendingAge = o.pendingAge
	}
	// Not what the environment says: where this host's guests run, only this
	// host's daemon knows.
	uri := virt.DefaultURI
	if a.global.Connect != "" {
		uri = a.global.Connect
	}
	r.Local, r.LocalErr = daemon.Dial(ctx, uri)
	return r
}

// claim takes the lock of a domain's migration, or says that somebody has it.
func claim(path string) (release func() error, held bool, err error) {
	release, err = tryLock(path)
	if errors.Is(err, migrate.ErrLocked) {
		return nil, true, nil
	}
	return release, false, err
}

func (a *app) printFindings(findings []migrate.Finding) error {
	if a.json() {
		if findings == nil {
			findings = []migrate.Finding{}
		}
		return a.printJSON(findings)
	}
	if len(findings) == 0 {
		a.say("Nothing was left behind.")
		return nil
	}
	for _, f := range findings {
		if a.global.Quiet && f.Outcome == migrate.Kept {
			continue
		}
		fmt.Fprintf(a.out, "%-7s  %s %s\n         seen: %s\n", f.Outcome, f.Kind, f.Subject, f.Seen)
		if f.Outcome != migrate.Kept {
			fmt.Fprintf(a.out, "         action: %s\n", f.Action)
		}
		if f.Error != "" {
			fmt.Fprintf(a.out, "         error: %s\n", f.Error)
		}
	}
	return nil
}

func leftover(findings []migrate.Finding) error {
	has := func(o migrate.Outcome) bool {
		return slices.ContainsFunc(findings, func(f migrate.Finding) bool { return f.Outcome == o })
	}
	switch {
	case has(migrate.Unfinished):
		return withCode(exitLeft, fmt.Errorf("%w: see above, and run it again once the cause is gone", errLeft))
	case has(migrate.Unknown):
		return errUnknown
	}
	return nil
}
