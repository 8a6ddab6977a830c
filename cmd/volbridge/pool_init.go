package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

func poolInitCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "make the empty place of a new pool ready for volumes", ArgsUsage: "POOL",
		Description: `Once for each pool, on one host: mount what belongs there, then run it. No other
command makes a pool: where a share is not mounted, the empty mount point would
be taken for one, and volumes would be made where no other host sees them.

A pool that is there already stays as it is, with its volumes; a place that
holds anything else is refused.

Example:
  volbridge pool init fast`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "POOL")
			if err != nil {
				return err
			}
			return a.poolInit(c.Context, args[0])
		},
	}
}

type poolInitJSON struct {
	Pool string `json:"pool"`
}

func (a *app) poolInit(ctx context.Context, name string) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, err := s.pools.Open(name)
	if err != nil {
		return err
	}
	i, ok := b.(pool.Initialiser)
	if !ok {
		return withCode(exitRefused, fmt.Errorf("pool %s needs no init: create volumes in it", name))
	}
	if err := i.Init(ctx); err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(poolInitJSON{Pool: name})
	}
	p, _ := s.config.Pool(name)
	a.say("pool %s is ready%s", name, inPlace(p))
	return nil
}

// inPlace is " in PATH" for a pool whose settings have a path.
func inPlace(p config.Pool) string {
	settings, err := settingsOf(p)
	if err != nil {
		return "" // the pool is made; only its path cannot be shown
	}
	if path, ok := settings["path"].(string); ok && path != "" {
		return " in " + path
	}
	return ""
}
