package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

func sizeFlag(usage string) *cli.StringFlag {
	return &cli.StringFlag{Name: "size", Usage: usage}
}

// sizeOption reads --size, which must be there.
func sizeOption(c *cli.Context) (int64, error) {
	text := c.String("size")
	if text == "" {
		return 0, helpHint(c, usagef("--size is missing"))
	}
	size, err := units.ParseSize(text)
	if err == nil && size == 0 {
		err = fmt.Errorf("size %q: a volume needs at least one byte", text)
	}
	if err != nil {
		return 0, helpHint(c, usagef("--size: %s", err))
	}
	return size, nil
}

func volumeCreateCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "make a new, empty volume", ArgsUsage: "POOL/VOLUME",
		Description: `The pool may round the size up; what was made is printed. No host can reach the
volume until a domain that uses it starts.

Example:
  volbridge volume create fast/web --size 10GiB`,
		Flags: []cli.Flag{sizeFlag("least `SIZE` with its unit, such as 10GiB")},
		Action: func(c *cli.Context) error {
			ref, err := volumeArgument(c)
			if err != nil {
				return err
			}
			size, err := sizeOption(c)
			if err != nil {
				return err
			}
			return a.volumeCreate(c.Context, ref, size)
		},
	}
}

func (a *app) volumeCreate(ctx context.Context, ref volumeRef, sizeBytes int64) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	_, p, err := s.provisioner(ref)
	if err != nil {
		return err
	}
	v, err := p.Create(ctx, pool.CreateRequest{Name: ref.Volume, SizeBytes: sizeBytes, CreationID: rand.Text()})
	if err != nil {
		return existsHint(ref, err)
	}
	if a.json() {
		return a.printJSON(toVolumeJSON(v, nil))
	}
	a.say("created volume %s: %s", ref, units.FormatSize(v.SizeBytes))
	return nil
}

func existsHint(ref volumeRef, err error) error {
	if errors.Is(err, pool.ErrExists) {
		return withHint(err, "'volbridge volume info %s' shows it; nothing was changed", ref)
	}
	return err
}

func volumeResizeCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "resize", Usage: "make a volume larger", ArgsUsage: "POOL/VOLUME",
		Description: `Grows the volume, then its device if it is attached on this host, and says what
remains to be done: other hosts that have it attached, and a running guest, which
has to be told. A volume is never made smaller. Repeating the command is harmless.

Example:
  volbridge volume resize fast/web --size 20GiB
  virsh blockresize web vda 21474836480B`,
		Flags: []cli.Flag{sizeFlag("new least `SIZE` with its unit, such as 20GiB")},
		Action: func(c *cli.Context) error {
			ref, err := volumeArgument(c)
			if err != nil {
				return err
			}
			size, err := sizeOption(c)
			if err != nil {
				return err
			}
			return a.volumeResize(c.Context, ref, size)
		},
	}
}

type resizeJSON struct {
	volumeJSON
	GrownHere bool     `json:"grown_here"` // the device of this host has the new size
	Todo      []string `json:"todo"`
}

func (a *app) volumeResize(ctx context.Context, ref volumeRef, sizeBytes int64) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, p, err := s.provisioner(ref)
	if err != nil {
		return err
	}
	v, err := p.Resize(ctx, ref.Volume, sizeBytes)
	if err != nil {
		return lookupError(ref, err)
	}
	grown, err := s.grow(ctx, b, ref)
	if err != nil {
		return withHint(fmt.Errorf("volume %s has %s now, but its device on this host could not grow: %w", ref, units.FormatSize(v.SizeBytes), err),
			"repeat the command")
	}
	todo, err := s.afterResize(ctx, b, ref, v.SizeBytes)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(resizeJSON{toVolumeJSON(v, nil), grown, todo})
	}
	a.say("volume %s has %s", ref, units.FormatSize(v.SizeBytes))
	for _, line := range todo {
		a.say("to do: %s", line)
	}
	return nil
}

// grow makes the device of this host as large as the volume. Where there is
// none, nothing is to be done.
func (s *session) grow(ctx context.Context, b pool.Backend, ref volumeRef) (grown bool, err error) {
	conn, err := s.connection(ctx, b, ref)
	if err != nil {
		return false, err
	}
	release, err := s.locks().Volume(ctx, ref.Pool, ref.Volume)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, release()) }()
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeouts.Device)
	defer cancel()
	_, err = blockdev.Grow(ctx, blockdev.System(), conn)
	if errors.Is(err, blockdev.ErrNotAttached) {
		return false, nil
	}
	return err == nil, err
}

// afterResize says what this command cannot do.
func (s *session) afterResize(ctx context.Context, b pool.Backend, ref volumeRef, sizeBytes int64) ([]string, error) {
	holders, err := b.Holders(ctx, ref.Volume)
	if err != nil {
		return nil, err
	}
	self, err := s.host()
	if err != nil {
		return nil, err
	}
	here, err := s.attachments(ctx, ref.Pool, ref.Volume)
	if err != nil {
		return nil, err
	}
	todo := []string{}
	for _, h := range holders {
		if h.Host.ID != self.ID {
			todo = append(todo, fmt.Sprintf("on host %s run 'volbridge volume resize %s --size %s' again: domain %s has it there",
				h.Host.Name, ref, units.FormatSize(sizeBytes), h.Owner.Name))
		}
	}
	for _, at := range here {
		if at.Phase == state.Held {
			todo = append(todo, fmt.Sprintf("tell the guest: virsh blockresize %s %s %dB (a disk with a storage slice, libvirt 10 or newer: --capacity)",
				at.DomainName, at.Target, sizeBytes))
		}
	}
	return todo, nil
}
