package hooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/lazyregexp"
	"github.com/volbridge/volbridge/pool"
)

// A migration learns whether the destination can serve its pools by asking the
// libvirt there to start a domain whose only disk is ProbePath. The hook
// answers in the error: the domain never starts.

// probeDir can be no pool: a pool's name does not begin with a dot.
const probeDir = "/dev/volbridge/.probe/"

// probeVersion of the answer's form.
const probeVersion = 1

// probeTime is how long the pools may take to answer. It is shorter than what a
// start may take: a person waits for the plan of a migration.
const probeTime = 20 * time.Second

// ProbePath is the source path of the disk of a domain that asks about pools.
func ProbePath(pools []string) string { return probeDir + strings.Join(pools, ",") }

// ProbeAnswer is what the hook of a host says.
type ProbeAnswer struct {
	Version int
	Host    string
	Refused string // why the pools cannot be served; empty: they can
	Facts   string // of the host, if HostQuestion was asked; see ParseFacts
}

// FormatProbe writes an answer as one line.
func FormatProbe(a ProbeAnswer) string {
	line := fmt.Sprintf("volbridge-probe: version=%d host=%s ", a.Version, a.Host)
	if a.Refused == "" && a.Facts != "" {
		return line + "ok facts=" + a.Facts
	}
	if a.Refused == "" {
		return line + "ok"
	}
	return line + "refused: " + strings.Join(strings.Fields(a.Refused), " ")
}

var probeLine = lazyregexp.New(`volbridge-probe: version=(\d+) host=(\S*) (?:ok\b(?: facts=(\S+))?|refused: ([^\n]+))`)

// ParseProbe finds an answer in an error of libvirt, which puts text of its
// own before and after it.
func ParseProbe(text string) (ProbeAnswer, bool) {
	m := probeLine.FindStringSubmatch(text)
	if m == nil {
		return ProbeAnswer{}, false
	}
	version, err := strconv.Atoi(m[1])
	return ProbeAnswer{Version: version, Host: m[2], Facts: m[3], Refused: m[4]}, err == nil
}

// probed returns the pools that a domain asks about, if it is a probe.
func probed(doc *domainxml.Document) (pools []string, is bool) {
	for _, d := range doc.Disks() {
		if rest, ok := strings.CutPrefix(d.Source, probeDir); ok {
			return strings.Split(rest, ","), true
		}
	}
	return nil, false
}

// answer looks whether this host can serve the pools.
func (h *Hook) answer(ctx context.Context, pools []string) ProbeAnswer {
	a := ProbeAnswer{Version: probeVersion, Host: h.hostName()}
	cfg, err := h.config()
	if err != nil {
		a.Refused = err.Error()
		return a
	}
	host, err := cfg.Host(h.Root)
	if err != nil {
		a.Refused = err.Error()
		return a
	}
	a.Host = host.Name
	if slices.Contains(pools, HostQuestion) {
		a.Facts = FactsOf(host, h.Build, cfg, time.Now()).format()
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err := checkPools(ctx, cfg, pools, host); err != nil {
		a.Refused = err.Error()
	}
	return a
}

func checkPools(ctx context.Context, cfg *config.Config, names []string, host pool.Host) error {
	opened := cfg.OpenPools(errNoPool, nil)
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = checkPool(ctx, opened, name, host) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func checkPool(ctx context.Context, pools *config.Pools, name string, host pool.Host) error {
	backend, err := pools.Open(name)
	if err != nil {
		return err
	}
	if err := pool.Ready(ctx, backend, host); err != nil {
		return fmt.Errorf("pool %q: %w", name, err)
	}
	return nil
}
