package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
)

// call is the work on one event.
type call struct {
	hook  *Hook
	event Event
	log   *logrus.Entry

	uuid string
	doc  *domainxml.Document // nil where it cannot be read and need not be
	cfg  *config.Config
	host string // name of this host, once known
	// byRecords: whatever the document says, the domain may have records.
	byRecords bool

	opened io.Closer
}

// run does the rule's work within its time.
func (c *call) run(ctx context.Context, r rule) error {
	if r.timeout == nil {
		return r.do(ctx, c)
	}
	var err error
	if c.cfg, err = c.hook.config(); err != nil {
		// Which pools are ours is not known. A volume of a pool is one of
		// libvirt's then, which a broken file of ours must not keep from
		// starting; one of ours libvirt cannot start by itself.
		if !c.concerned(noPool) {
			c.log.WithError(err).Warn("nothing is done: no disk has a path or metadata of volbridge")
			return nil
		}
		return fmt.Errorf("domain %s: %w", c.event.Domain, err)
	}
	configured := func(name string) bool { _, is := c.cfg.Pool(name); return is }
	if !c.concerned(configured) {
		return nil
	}
	limit := r.timeout(c.cfg.Timeouts)
	ctx, cancel := context.WithTimeoutCause(ctx, limit,
		fmt.Errorf("not done within %s (timeouts in %s): %w", limit, c.cfg.Path, context.DeadlineExceeded))
	defer cancel()
	err = r.do(ctx, c)
	if err == nil {
		c.log.Info("done")
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return errors.Join(err, c.recover(r, err))
}

// concerned says whether there may be anything to do; a document that cannot
// be read does not rule it out.
func (c *call) concerned(isPool func(string) bool) bool {
	return c.doc == nil || c.byRecords || relevant(c.doc, isPool)
}

// recover starts recovery where something was left behind. After a `release`
// that is everything that the hook did not finish.
func (c *call) recover(r rule, err error) error {
	if r.op != "release" && !errors.Is(err, bridge.ErrLeft) {
		return nil
	}
	if err := c.hook.Recover(); err != nil {
		return fmt.Errorf("start \"volbridge recover\": %w: run it by hand", err)
	}
	return nil
}

// bridge opens what the work needs.
func (c *call) bridge(ctx context.Context) (*bridge.Bridge, error) {
	b, err := c.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("domain %s: %w", c.event.Domain, err)
	}
	return b, nil
}

func (c *call) open(ctx context.Context) (*bridge.Bridge, error) {
	setLevel(c.log, c.cfg.LogLevel)
	host, err := c.cfg.Host(c.hook.Root)
	if err != nil {
		return nil, err
	}
	c.host = host.Name
	bootID, err := state.BootID(c.hook.Machine.Proc)
	if err != nil {
		return nil, err
	}
	// A release, and taking back what a call did, wait for their turn and for the
	// file within the time that they have.
	patience := min(c.cfg.Timeouts.Lock, c.cfg.Timeouts.Release/2)
	store, err := state.Open(ctx, c.cfg.StatePath(), bootID, state.LeaveLog(), state.WithBusyTimeout(patience),
		state.OnMachine(state.ProductUUID(c.hook.Machine.Sys)))
	if err != nil {
		return nil, err
	}
	c.opened = store
	return &bridge.Bridge{
		Host: host, BootID: bootID, Store: store, Log: c.log,
		Pools:         c.cfg.OpenPools(bridge.ErrNoPool, c.log),
		Locks:         bridge.FileLocks{Dir: c.cfg.RunDir, Wait: c.cfg.Timeouts.Lock},
		Devices:       bridge.HostDevices{Host: c.hook.Machine},
		Hints:         bridge.FileHints(c.hook.HintDir),
		Attached:      c.cfg.Attached,
		Stored:        c.hook.stored,
		DeviceTimeout: c.cfg.Timeouts.Device,
		UndoTimeout:   c.cfg.Timeouts.Release,
	}, nil
}

func (c *call) close() error {
	if c.opened == nil {
		return nil
	}
	return c.opened.Close()
}

// print gives libvirt the document; nothing means that it stays as it is.
func (c *call) print(xml []byte) error {
	if _, err := c.hook.Stdout.Write(xml); err != nil {
		return fmt.Errorf("domain %s: give the document to libvirt: %w", c.event.Domain, err)
	}
	return nil
}

// maxLines of an error go to stderr: libvirt cuts what is longer than about
// 1 KiB. The journal has all.
const maxLines = 4

// report writes an error where the user and the administrator see it.
func (c *call) report(err error) {
	var probe *probeError
	if errors.As(err, &probe) {
		fmt.Fprintln(c.hook.Stderr, probe.line)
		return
	}
	c.log.Error(err)
	host := c.host
	if host == "" {
		host = c.hook.hostName()
	}
	lines := strings.Split(err.Error(), "\n")
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("and %d more: see \"journalctl -t volbridge-hook\" on %s", more, host))
	}
	fmt.Fprintf(c.hook.Stderr, "volbridge on %s: %s\n", host, strings.Join(lines, "\n"))
}
