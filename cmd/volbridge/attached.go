package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"
)

// attachedCommand is for the packages, which warn before the program goes. It
// goes by this host's own records and asks nobody.
func attachedCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "attached", Hidden: true, Usage: "list what is recorded as attached to this host",
		Description: `By this host's own records; nobody is asked.

Example:
  volbridge --quiet attached`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			return a.attached(c.Context)
		},
	}
}

func (a *app) attached(ctx context.Context) (err error) {
	s, _, err := a.openLoosely()
	if err != nil {
		return err
	}
	if _, err := os.Stat(s.config.StatePath()); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was ever attached
	}
	store, err := s.store(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	list, err := store.All(ctx)
	if err != nil {
		return err
	}
	for _, at := range list {
		fmt.Fprintf(a.out, "%s/%s, disk %s of domain %s\n", printable(at.Pool), printable(at.Volume), printable(at.Target), printable(at.DomainName))
	}
	return nil
}
