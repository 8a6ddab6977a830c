package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/pool"
)

func volumeDeleteCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "delete", Aliases: []string{"rm"}, Usage: "remove a volume and its data for good", ArgsUsage: "POOL/VOLUME",
		Description: `Asks on a terminal; elsewhere --yes must be given. A volume that a host holds is
not deleted. A domain that is shut off holds nothing: look whether one still
names the volume.

Example:
  volbridge volume delete fast/web --dry-run
  volbridge volume delete fast/web --yes`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be deleted"},
		},
		Action: func(c *cli.Context) error {
			ref, err := volumeArgument(c)
			if err != nil {
				return err
			}
			return a.volumeDelete(c.Context, ref, deleteOptions{Yes: c.Bool("yes"), DryRun: c.Bool("dry-run")})
		},
	}
}

type deleteOptions struct{ Yes, DryRun bool }

func (a *app) volumeDelete(ctx context.Context, ref volumeRef, o deleteOptions) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, p, err := s.provisioner(ref)
	if err != nil {
		return err
	}
	v, err := b.Lookup(ctx, ref.Volume)
	if err != nil {
		return lookupError(ref, err)
	}
	holders, err := b.Holders(ctx, ref.Volume)
	if err != nil {
		return err
	}
	if len(holders) > 0 {
		return heldHint(&pool.HeldError{Pool: ref.Pool, Volume: ref.Volume, Holders: holders})
	}
	if o.DryRun {
		a.say("would delete volume %s with its data (%s)", ref, sizeText(v.SizeBytes))
		return nil
	}
	if err := a.confirmDelete(v, o.Yes); err != nil {
		return err
	}
	// The id keeps from deleting a volume that was made anew while somebody
	// thought about the question.
	err = p.Delete(ctx, ref.Volume, v.CreationID)
	var held *pool.HeldError
	if errors.As(err, &held) {
		return heldHint(err)
	}
	if err != nil {
		return err
	}
	a.say("deleted volume %s", ref)
	return nil
}

func heldHint(err error) error {
	return withHint(fmt.Errorf("not deleted: %w", err), "stop that domain first; if it does not run, run 'volbridge recover' on that host")
}

func (a *app) confirmDelete(v pool.Volume, yes bool) error {
	name := v.Pool + "/" + v.Name
	switch {
	case yes:
		return nil
	case !a.inTerminal:
		return withCode(exitRefused, fmt.Errorf("volume %s was not deleted: nobody can be asked here, so --yes must be given", name))
	}
	fmt.Fprintf(a.err, "Delete volume %s (%s) and all its data for good? Type yes: ", name, sizeText(v.SizeBytes))
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(answer) == "yes" {
		return nil
	}
	return withCode(exitRefused, errors.Join(fmt.Errorf("volume %s was not deleted", name), unlessEOF(err)))
}
