package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/buildinfo"
	"github.com/volbridge/volbridge/internal/metrics"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/migrate"
)

func metricsCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "metrics", Usage: "tell Prometheus what this host has and how it went",
		Description: `Adds up what volbridge's processes measured since the last time, and prints it with
what this host has now, in the text format of Prometheus. With --textfile it is
written for node_exporter's textfile collector instead. It names pools, and no
domains, volumes or secrets.

What recovery would find is asked of libvirt and of the pools, within --timeout; if
they do not answer, volbridge_findings_known is 0.

Example:
  volbridge metrics --textfile /var/lib/prometheus/node-exporter`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "textfile", Usage: "write `FILE`, or volbridge.prom in this folder, instead of printing"},
			&cli.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "ask what recovery would find for `TIME` at most"},
		},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			return a.metrics(c.Context, c.String("textfile"), c.Duration("timeout"))
		},
	}
}

func (a *app) metrics(ctx context.Context, file string, limit time.Duration) (err error) {
	h, err := a.openHost(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	now, err := h.measured(ctx)
	if err != nil {
		return err
	}
	a.countFindings(ctx, h, &now, limit)
	totals, warning, err := metrics.Fold(ctx, filepath.Join(h.config.StateDir, "metrics.json"), h.config.Spool())
	if warning != "" {
		a.warn("%s", warning)
	}
	if err != nil {
		return err
	}
	if file != "" {
		if info, err := os.Stat(file); err == nil && info.IsDir() {
			file = filepath.Join(file, metrics.TextfileName)
		}
		return metrics.WriteTextfile(file, now, totals)
	}
	text, err := metrics.Text(now, totals)
	if err == nil {
		_, err = a.out.Write(text)
	}
	return err
}

// measured reads the records of this host.
func (h *host) measured(ctx context.Context) (metrics.Host, error) {
	m := metrics.Host{Version: buildinfo.Version(version), Now: time.Now(), Attachments: map[[2]string]int{}, Grants: map[string]int{}, Findings: map[[2]string]int{}}
	attachments, err := h.store.All(ctx)
	if err != nil {
		return m, err
	}
	copies, err := h.store.Copies(ctx)
	if err != nil {
		return m, err
	}
	migrations, err := h.store.Migrations(ctx, true)
	if err != nil {
		return m, err
	}
	m.Unfinished = len(copies) + len(migrations)
	granted := map[[2]string]bool{}
	for _, at := range attachments {
		m.Attachments[[2]string{at.Pool, string(at.Phase)}]++
		if volume := [2]string{at.Pool, at.Volume}; !granted[volume] {
			granted[volume] = true
			m.Grants[at.Pool]++
		}
		if at.Phase == state.Pending {
			m.PendingAge = max(m.PendingAge, m.Now.Sub(at.Updated))
		}
	}
	return m, nil
}

// countFindings counts what recovery would find. Without an answer nothing is
// known, which is no reason to tell nothing else.
func (a *app) countFindings(ctx context.Context, h *host, m *metrics.Host, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := a.recoverer(ctx, h, recoverOptions{dryRun: true, pendingAge: -1})
	if r.Local != nil {
		defer r.Local.Close()
	}
	found, err := r.Recover(ctx)
	if err != nil {
		a.warn("what recovery would find is not known: %v", err)
	}
	m.FindingsKnown = err == nil && r.LocalErr == nil && ctx.Err() == nil
	for _, f := range found {
		m.Findings[[2]string{f.Kind, string(f.Outcome)}]++
		m.FindingsKnown = m.FindingsKnown && f.Outcome != migrate.Unknown
	}
}
