package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/hooks/scan"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

var errNoPool = bridge.ErrNoPool

// Hook answers libvirt's calls on one host.
type Hook struct {
	ConfigPath string
	HintDir    string
	Root       string // "/", for the names of the host
	Machine    blockdev.Host
	LogDir     string // where libvirt keeps the logs of the guests
	StoredDir  string // where libvirt keeps the definitions of persistent domains
	Drivers    []pool.Driver
	Build      string // what the linker said; see package buildinfo
	// Recover starts `volbridge recover` and does not wait for it.
	Recover func() error

	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run answers one call and returns the exit code; args are without the
// program's name.
func (h *Hook) Run(ctx context.Context, args []string) (exit int) {
	e, err := ParseEvent(args, h.Stdin)
	if err != nil {
		fmt.Fprintln(h.Stderr, "volbridge-hook:", err)
		return 2
	}
	r, ok := ruleFor(e)
	if !ok {
		return 0
	}
	c := &call{hook: h, event: e, log: newLog(e)}
	if err := h.guarded(ctx, r, c); err != nil {
		c.report(err)
		if !r.tolerant {
			return 1
		}
	}
	return 0
}

// guarded makes an error of a panic: at `reconnect` it must not reach the exit
// code either.
func (h *Hook) guarded(ctx context.Context, r rule, c *call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error(string(debug.Stack()))
			err = errors.Join(err, fmt.Errorf("domain %s: internal error, please report it: %v", c.event.Domain, p))
		}
		err = errors.Join(err, c.close())
	}()
	return h.handle(ctx, r, c)
}

func (h *Hook) handle(ctx context.Context, r rule, c *call) error {
	need := scan.Needs(r.op, r.subOp)
	xml, err := c.event.XML()
	if err == nil && scan.Idle(need, xml, h.HintDir) {
		return nil
	}
	c.uuid = scan.UUID(xml)
	if err == nil {
		c.doc, err = domainxml.Parse(xml)
	}
	if err != nil && (!r.tolerant || c.uuid == "") {
		return fmt.Errorf("domain %s: %w", c.event.Domain, err)
	}
	if err != nil {
		c.log.WithError(err).Warn("the domain's XML cannot be read; its records decide")
		c.doc = nil
	}
	if c.doc != nil {
		c.uuid = c.doc.UUID()
		if pools, is := probed(c.doc); is {
			return h.answerProbe(ctx, r, pools)
		}
	}
	c.byRecords = need == scan.Records && scan.Hinted(h.HintDir, c.uuid)
	if !c.concerned(anyPool) {
		return nil
	}
	return c.run(ctx, r)
}

// relevant is scan.Managed on what the document says once it is parsed. isPool
// says of a name whether it may be one of our pools.
func relevant(doc *domainxml.Document, isPool func(string) bool) bool {
	if _, has := doc.Metadata(); has {
		return true
	}
	for _, d := range doc.Disks() {
		if d.Kind == "volume" && isPool(d.Pool) || scan.Path(d.Source) {
			return true
		}
		for _, b := range d.Backing {
			if scan.Path(b.Source) {
				return true
			}
		}
	}
	return false
}

func anyPool(string) bool { return true }
func noPool(string) bool  { return false }

// probeError is an answer: the line for stderr, and the start fails.
type probeError struct{ line string }

func (e *probeError) Error() string { return e.line }

func (h *Hook) answerProbe(ctx context.Context, r rule, pools []string) error {
	if r.op != "prepare" {
		return nil
	}
	return &probeError{FormatProbe(h.answer(ctx, pools))}
}

// config reads the configuration. Without a file this host has no pool, and
// only a domain that needs one is refused.
func (h *Hook) config() (*config.Config, error) {
	cfg, err := config.Load(h.ConfigPath, h.Drivers)
	if errors.Is(err, config.ErrNoConfig) {
		cfg = config.Default()
		cfg.Path = h.ConfigPath
		return cfg, nil
	}
	if err != nil {
		// The remedy first: a broken file may have more to say than libvirt
		// passes on.
		return nil, fmt.Errorf("configuration %s cannot be used (correct it; \"volbridge pool check\" reads it): %w", h.ConfigPath, err)
	}
	return cfg, nil
}

func (h *Hook) hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
