package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/lockfile"
	"github.com/volbridge/volbridge/internal/metrics/spool"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/migrate"
	"github.com/volbridge/volbridge/migrate/daemon"
)

const migrateHelp = `Moves a running domain to the host of DEST-URI. For each disk it decides:

  shared  both hosts reach the volume: the destination is granted it for the
          time of the move, and nothing is copied
  copy    the disk goes into a new volume of another pool; the guest runs on
  leave   read-only, empty or reached over the network by both hosts

--dry-run shows the decisions. Everything that speaks against the migration is
said before anything is created. After a failure, Ctrl-C or the loss of the
terminal (unless nohup is used) the guest runs on where it was, and what was
created is removed.

volbridge and its hook must be installed on the destination.

With plain virsh, never give --copy-storage-all or --copy-storage-inc for a
domain with a disk in a shared pool: libvirt would copy the volume onto itself
while the guest writes it, and data would be lost. This command always says
which disks are copied.

Examples:

  volbridge migrate web qemu+ssh://kvm02/system --to-pool fast --dry-run
  volbridge migrate web qemu+ssh://kvm02/system --to-pool fast
  volbridge migrate db qemu+ssh://kvm02/system --disk vda=fast --disk vdb=old
  volbridge migrate web qemu+ssh://kvm02/system   # all disks in shared pools`

type migrateOptions struct {
	migrate.Options
	dryRun bool
}

func migrateCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "migrate",
		Usage:       "move a running domain to another host, with its disks",
		ArgsUsage:   "DOMAIN DEST-URI",
		Description: migrateHelp,
		Flags:       migrateFlags(),
		Action: func(c *cli.Context) error {
			o, err := parseMigrate(c)
			if err != nil {
				return err
			}
			return a.migrate(c.Context, o)
		},
	}
}

func migrateFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "to-pool", Usage: "copy every disk that is not in it into `POOL`"},
		&cli.StringSliceFlag{Name: "disk", Usage: "copy one disk: `TARGET=POOL[/VOLUME]`, such as vda=fast; repeatable"},
		&cli.StringSliceFlag{Name: "leave", Usage: "do not touch disk `TARGET`: the destination has the same data at the same path (NFS); repeatable"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show the plan, and change nothing"},
		&cli.BoolFlag{Name: "remove-source", Usage: "remove what was copied, once the guest runs on the destination"},
		&cli.BoolFlag{Name: "undefine-source", Usage: "remove the definition on the source, once the guest runs on the destination"},
		&cli.DurationFlag{Name: "timeout-stalled", Usage: "give up when nothing has moved for `TIME`, such as 10m; 0 never", Value: 10 * time.Minute},
		&cli.BoolFlag{Name: "p2p", Usage: "let the two daemons talk to each other: it goes on when this command dies"},
		&cli.Uint64Flag{Name: "bandwidth", Usage: "`MiB/s` at most, for each disk and for memory"},
		&cli.StringFlag{Name: "migrateuri", Usage: "`URI` over which memory is sent"},
		&cli.StringFlag{Name: "listen-address", Usage: "`ADDRESS` on which the destination listens"},
		&cli.IntFlag{Name: "disks-port", Usage: "`PORT` on which the destination takes the disks"},
		&cli.StringFlag{Name: "disks-uri", Usage: "`URI` over which the disks are sent"},
		&cli.BoolFlag{Name: "tls", Usage: "encrypt what is sent"},
		&cli.StringFlag{Name: "tls-destination", Usage: "`NAME` in the destination's certificate"},
		&cli.BoolFlag{Name: "auto-converge", Usage: "slow the guest down if its memory changes too fast"},
		&cli.IntFlag{Name: "auto-converge-initial", Usage: "by `PERCENT` at first"},
		&cli.IntFlag{Name: "auto-converge-increment", Usage: "by `PERCENT` more each time"},
		&cli.BoolFlag{Name: "postcopy", Usage: "switch to post-copy after the first pass over memory"},
		&cli.BoolFlag{Name: "parallel", Usage: "send memory over several connections"},
		&cli.IntFlag{Name: "parallel-connections", Usage: "over `N` of them"},
		&cli.BoolFlag{Name: "copy-storage-synchronous-writes", Usage: "the guest's writes wait for the copy, so that it always converges"},
		&cli.StringFlag{Name: "dname", Usage: "`NAME` of the domain on the destination"},
	}
}

func parseMigrate(c *cli.Context) (migrateOptions, error) {
	args, err := arguments(c, "DOMAIN", "DEST-URI")
	if err != nil {
		return migrateOptions{}, err
	}
	o := migrateOptions{dryRun: c.Bool("dry-run"), Options: migrate.Options{
		Domain: args[0], DestURI: args[1],
		ToPool: c.String("to-pool"), Leave: c.StringSlice("leave"),
		Disks:        map[string]migrate.DiskTarget{},
		RemoveSource: c.Bool("remove-source"), StallLimit: c.Duration("timeout-stalled"),
		Tuning: parseTuning(c),
	}}
	for _, s := range c.StringSlice("disk") {
		target, to, err := migrate.ParseDiskTarget(s)
		if err != nil {
			return o, usagef("--disk %s", err)
		}
		if _, twice := o.Disks[target]; twice {
			return o, usagef("--disk %s: disk %s has a place already", s, target)
		}
		o.Disks[target] = to
	}
	return o, nil
}

func parseTuning(c *cli.Context) migrate.Tuning {
	return migrate.Tuning{
		PeerToPeer:            c.Bool("p2p"),
		UndefineSource:        c.Bool("undefine-source"),
		BandwidthMiBps:        c.Uint64("bandwidth"),
		MigrateURI:            c.String("migrateuri"),
		ListenAddress:         c.String("listen-address"),
		DisksPort:             c.Int("disks-port"),
		DisksURI:              c.String("disks-uri"),
		TLS:                   c.Bool("tls"),
		TLSDestination:        c.String("tls-destination"),
		AutoConverge:          c.Bool("auto-converge"),
		AutoConvergeInitial:   c.Int("auto-converge-initial"),
		AutoConvergeIncrement: c.Int("auto-converge-increment"),
		PostCopy:              c.Bool("postcopy"),
		Parallel:              c.Bool("parallel"),
		ParallelConnections:   c.Int("parallel-connections"),
		SynchronousWrites:     c.Bool("copy-storage-synchronous-writes"),
		DestName:              c.String("dname"),
	}
}

// migrate plans, and unless that is all, carries the plan out.
func (a *app) migrate(ctx context.Context, o migrateOptions) (err error) {
	h, err := a.openHost(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	source, err := daemon.Dial(ctx, virt.URI(a.global.Connect, a.getenv))
	if err != nil {
		return err
	}
	defer source.Close()
	dest, err := daemon.Dial(ctx, o.DestURI)
	if err != nil {
		return schemeHint(o.DestURI, err)
	}
	m := a.mover(h, source, dest)
	m.Redial = func(ctx context.Context) (migrate.Hypervisor, error) { return daemon.Dial(ctx, o.DestURI) }
	defer func() { m.Dest.Close() }() // not dest: it may have been redialled

	if o.dryRun {
		_, plan, err := m.Plan(ctx, o.Options)
		if err != nil {
			return err
		}
		return a.printPlan(plan)
	}
	view, closeView := a.migrationView()
	m.Watch = view
	began := time.Now()
	result, err := m.Run(ctx, o.Options)
	closeView()
	h.config.Spool().Add(spool.Sample{Kind: spool.Migration, Result: migrationResult(err), Took: time.Since(began)})
	if err != nil {
		return err
	}
	return a.printArrival(result)
}

// migrationResult is the word by which measurements tell migrations apart.
func migrationResult(err error) string {
	var failed *migrate.FailedError
	switch {
	case err == nil:
		return "done"
	case !errors.As(err, &failed):
		return "refused"
	case failed.Undone && failed.Left == nil:
		return "undone"
	}
	return "left"
}

// schemeHint is for who gave the name of a host. It is none of the command line's
// mistakes, because libvirt.conf may have aliases.
func schemeHint(uri string, err error) error {
	if strings.Contains(uri, ":") {
		return err
	}
	return withHint(err, "write a URI such as qemu+ssh://%s/system", uri)
}

// mover is the use case with everything of this host.
func (a *app) mover(h *host, source, dest migrate.Hypervisor) *migrate.Mover {
	return &migrate.Mover{
		Source: source, Dest: dest, Host: h.self,
		Pools: h.pools.Open, PoolNames: h.pools.Names(),
		Recognise: func(ctx context.Context, doc *domainxml.Document) (map[string]migrate.Located, error) {
			return recognise(ctx, doc, h.pools)
		},
		Journal: h.store, Lock: tryLock, LockDir: h.config.RunDir, BootID: h.bootID,
		Settle: h.config.Timeouts.Release, Limit: h.config.Timeouts.Migrate, Inhibit: a.inhibit, Watch: newProgressLines(a.err),
		NewID: rand.Text,
	}
}

// tryLock takes a lock file unless somebody has it.
func tryLock(path string) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	release, err = lockfile.TryAcquire(path)
	if errors.Is(err, lockfile.ErrHeld) {
		return nil, fmt.Errorf("%w: %w", migrate.ErrLocked, err)
	}
	return release, err
}

func recognise(ctx context.Context, doc *domainxml.Document, pools bridge.Pools) (map[string]migrate.Located, error) {
	disks, err := bridge.Managed(ctx, doc, pools)
	found := map[string]migrate.Located{}
	for _, d := range disks {
		found[d.Target] = migrate.Located{Pool: d.Pool, Volume: d.Volume}
	}
	return found, err
}

// migrationView chooses how to show progress: bars for a person, lines for a
// log, nothing but warnings where quiet was asked for.
func (a *app) migrationView() (view migrate.Observer, done func()) {
	switch {
	case a.global.Quiet:
		return quietView{a}, func() {}
	case a.errTerminal:
		b := newProgressBars(a.err)
		return b, b.close
	}
	return newProgressLines(a.err), func() {}
}

// quietView tells only what is not right.
type quietView struct{ a *app }

func (quietView) Planned(migrate.Plan)      {}
func (quietView) Step(string)               {}
func (quietView) Progress(migrate.Progress) {}
func (v quietView) Warn(text string)        { fmt.Fprintln(v.a.err, "volbridge: warning:", text) }

func (a *app) printArrival(r migrate.Result) error {
	if a.json() {
		return a.printJSON(r)
	}
	a.say("domain %s runs on %s, after %s", r.Plan.Domain, r.Plan.DestHost, r.Elapsed.Round(100*time.Millisecond))
	return nil
}

// printPlan shows what a migration would do.
func (a *app) printPlan(p migrate.Plan) error {
	if a.json() {
		return a.printJSON(p)
	}
	kind := "transient"
	if p.Persistent {
		kind = "persistent"
	}
	if err := a.printFields([][2]string{
		{"domain", fmt.Sprintf("%s (%s, %s)", p.Domain, p.UUID, kind)},
		{"from", fmt.Sprintf("%s (%s)", p.SourceHost, p.Source)},
		{"to", fmt.Sprintf("%s (%s)", p.DestHost, p.Destination)},
	}); err != nil {
		return err
	}
	for _, d := range p.Disks {
		a.printDiskPlan(d)
	}
	for _, w := range p.Warnings {
		a.warn("%s", w)
	}
	a.say("\nNothing was changed.")
	return nil
}

// printDiskPlan shows one disk, with paths on lines of their own: they are long.
func (a *app) printDiskPlan(d migrate.DiskPlan) {
	size := ""
	if d.GuestBytes > 0 {
		size = ", " + sizeText(d.GuestBytes)
	}
	fmt.Fprintf(a.out, "\n%s  %s (%s%s)\n", d.Target, d.Action, d.Why, size)
	for _, line := range [][2]string{{"from", d.From}, {"to", diskGoal(d)}} {
		if line[1] != "" && (d.Action == migrate.Copy || line[0] == "from") {
			fmt.Fprintf(a.out, "     %-5s%s\n", line[0], printable(line[1]))
		}
	}
}

// diskGoal is where a disk is afterwards.
func diskGoal(d migrate.DiskPlan) string {
	if d.Pool == "" {
		return ""
	}
	goal := d.Pool + "/" + d.Volume
	if d.VolumeBytes > d.GuestBytes {
		goal += fmt.Sprintf(" (new, %s)", units.FormatSize(d.VolumeBytes))
	} else if d.Action == migrate.Copy {
		goal += " (new)"
	}
	return strings.TrimSpace(goal)
}
