package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/pool"
)

func volumeListCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "list", Aliases: []string{"ls"}, Usage: "list volumes and the hosts that hold them", ArgsUsage: "[POOL]",
		Description: `Lists the volumes of one pool, or of all.

Example:
  volbridge volume list fast`,
		Action: func(c *cli.Context) error {
			name, err := optional(c)
			if err != nil {
				return err
			}
			return a.volumeList(c.Context, name)
		},
	}
}

// volumeList goes on past a pool that does not answer.
func (a *app) volumeList(ctx context.Context, name string) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	names := s.pools.Names()
	if name != "" {
		names = []string{name}
	}
	list := []volumeJSON{}
	var rows [][]string
	var errs []error
	for _, name := range names {
		volumes, err := s.listPool(ctx, name)
		if err != nil {
			errs = append(errs, err)
		}
		for _, v := range volumes {
			list = append(list, toVolumeJSON(v.Volume, v.holders))
			rows = append(rows, []string{v.Pool + "/" + v.Name, sizeText(v.SizeBytes), timeText(v.Created), heldBy(v.holders)})
		}
	}
	switch {
	case len(list) == 0 && len(errs) > 0: // an empty list would say that there are none
	case a.json():
		err = a.printJSON(list)
	default:
		err = a.printTable([]string{"VOLUME", "SIZE", "CREATED", "HELD BY"}, rows)
	}
	return errors.Join(append(errs, err)...)
}

type heldVolume struct {
	pool.Volume
	holders []pool.Holder
}

func (s *session) listPool(ctx context.Context, name string) ([]heldVolume, error) {
	b, err := s.pools.Open(name)
	if err != nil {
		return nil, err
	}
	volumes, err := b.List(ctx)
	if err != nil {
		return nil, err
	}
	var list []heldVolume
	var errs []error
	for _, v := range volumes {
		holders, err := b.Holders(ctx, v.Name)
		if errors.Is(err, pool.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			errs = append(errs, err)
		}
		list = append(list, heldVolume{v, holders})
	}
	return list, errors.Join(errs...)
}
