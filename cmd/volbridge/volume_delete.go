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
		Name: "delete", Aliases: []string{"rm"}, Usage: "remove a volume and its data", ArgsUsage: "POOL/VOLUME",
		Description: `Asks on a terminal; elsewhere --yes must be given. A volume that a host holds is
not deleted. A domain that is shut off holds nothing: look whether one still
names the volume.

A pool may keep what was deleted for a while, as a FlashArray does: then the
command says where.

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
	v, err := a.deletable(ctx, ref, b)
	if err != nil {
		return err
	}
	kept := ""
	if k, ok := b.(pool.Keeper); ok {
		kept = k.KeepsDeleted(ref.Volume)
	}
	if o.DryRun {
		return a.printDeleted(v, true, kept)
	}
	if err := a.confirmDelete(v, kept, o.Yes); err != nil {
		return err
	}
	err = deleteShown(ctx, b, p, v)
	var held *pool.HeldError
	if errors.As(err, &held) {
		return heldHint(err)
	}
	if err != nil {
		return err
	}
	return a.printDeleted(v, false, kept)
}

// deletable finds the volume, or what a creation or an earlier deletion that ended
// halfway left of it, and refuses one that is held.
func (a *app) deletable(ctx context.Context, ref volumeRef, b pool.Backend) (pool.Volume, error) {
	v, err := b.Lookup(ctx, ref.Volume)
	var half interface {
		error
		Unfinished() pool.Volume
	}
	if errors.As(err, &half) {
		fmt.Fprintf(a.err, "volbridge: volume %s: %v\n", ref, half)
		return half.Unfinished(), nil // whether it is held is judged when it is deleted
	}
	if err != nil {
		return v, lookupError(ref, err)
	}
	holders, err := b.Holders(ctx, ref.Volume)
	if err == nil && len(holders) > 0 {
		err = heldHint(&pool.HeldError{Pool: ref.Pool, Volume: ref.Volume, Holders: holders})
	}
	return v, err
}

// exactDeleter is a pool that deletes the volume that it once showed, and no
// other of its name: pool.ErrNotOurs.
type exactDeleter interface {
	DeleteExactly(ctx context.Context, v pool.Volume) error
}

// deleteShown deletes the volume that somebody was asked about, and none that
// got its name while that person thought. The creation id says which it is;
// where a volume has none and the pool cannot be told, it is looked at again.
func deleteShown(ctx context.Context, b pool.Backend, p pool.Provisioner, v pool.Volume) error {
	if exact, ok := b.(exactDeleter); ok {
		return exact.DeleteExactly(ctx, v)
	}
	if v.CreationID == "" {
		now, err := b.Lookup(ctx, v.Name)
		if err != nil {
			return err
		}
		if now.Identity != v.Identity {
			return fmt.Errorf("volume %s/%s was not deleted: %w: the name is another volume's by now", v.Pool, v.Name, pool.ErrNotOurs)
		}
	}
	return p.Delete(ctx, v.Name, v.CreationID)
}

type deletedJSON struct {
	Pool      string `json:"pool"`
	Name      string `json:"name"`
	SizeBytes int64  `json:"size_bytes"`
	DryRun    bool   `json:"dry_run"`
	// Kept says where the volume is nevertheless; empty: it is gone for good.
	Kept string `json:"kept,omitempty"`
}

func (a *app) printDeleted(v pool.Volume, dryRun bool, kept string) error {
	name := v.Pool + "/" + v.Name
	switch {
	case a.json():
		return a.printJSON(deletedJSON{v.Pool, v.Name, v.SizeBytes, dryRun, kept})
	case dryRun:
		a.say("would delete volume %s with its data%s", name, sizeInBrackets(v.SizeBytes))
	default:
		a.say("deleted volume %s", name)
	}
	if kept != "" {
		a.say("%s", kept)
	}
	return nil
}

// sizeInBrackets is empty for what has no size yet, as a volume that is not finished.
func sizeInBrackets(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return " (" + sizeText(bytes) + ")"
}

func heldHint(err error) error {
	return withHint(fmt.Errorf("not deleted: %w", err), "stop that domain first; if it does not run, run 'volbridge recover' on that host")
}

func (a *app) confirmDelete(v pool.Volume, kept string, yes bool) error {
	name := v.Pool + "/" + v.Name
	switch {
	case yes:
		return nil
	case !a.inTerminal:
		return withCode(exitRefused, fmt.Errorf("volume %s was not deleted: nobody can be asked here, so --yes must be given", name))
	}
	what := "for good"
	if kept != "" {
		what = "(" + kept + ")"
	}
	fmt.Fprintf(a.err, "Delete volume %s%s and all its data %s? Type yes: ", name, sizeInBrackets(v.SizeBytes), what)
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(answer) == "yes" {
		return nil
	}
	return withCode(exitRefused, errors.Join(fmt.Errorf("volume %s was not deleted", name), unlessEOF(err)))
}
