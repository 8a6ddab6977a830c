package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

func volumeResizeCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "resize", Usage: "make a volume larger", ArgsUsage: "POOL/VOLUME",
		Description: `Grows, in this order: the volume; its device, if it is attached on this host; the
disk of a guest that runs here, and what the definitions of domains on this host
say of its size (the metadata, and the storage slice that limited it). What is
done and what remains is said: other hosts that have the volume, and a guest whose
libvirt cannot do it while it runs. The file system in the guest is the guest's.

A volume is never made smaller. Repeating the command is harmless, and does what
failed before.

Example:
  volbridge volume resize fast/web --size 20GiB`,
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
	GrownHere bool        `json:"grown_here"` // the device of this host has the new size
	Guests    []guestJSON `json:"guests"`
	Todo      []string    `json:"todo"`
}

// resizing is one run of the command.
type resizing struct {
	*app
	session *session
	backend pool.Backend
	ref     volumeRef
	volume  pool.Volume // as it is now
	path    string      // of its device, on this host

	grown  bool
	guests []guestJSON
	todo   []string
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
	a.say("volume %s has %s", ref, units.FormatSize(v.SizeBytes))
	r := &resizing{app: a, session: s, backend: b, ref: ref, volume: v, guests: []guestJSON{}, todo: []string{}}
	if err := r.below(ctx); err != nil {
		return withHint(fmt.Errorf("volume %s has %s now, but not everything that uses it: %w", ref, units.FormatSize(v.SizeBytes), err),
			"repeat the command once the cause is gone")
	}
	if a.json() {
		return a.printJSON(resizeJSON{toVolumeJSON(v, nil), r.grown, r.guests, r.todo})
	}
	for _, line := range r.todo {
		a.say("to do: %s", line)
	}
	return nil
}

// below makes what lies below the volume as large: device, guests, definitions.
func (r *resizing) below(ctx context.Context) error {
	if err := r.grow(ctx); err != nil {
		return err
	}
	if r.grown {
		r.say("its device on this host has grown with it")
	}
	here, err := r.session.attachments(ctx, r.ref.Pool, r.ref.Volume)
	if err != nil {
		return err
	}
	if err := r.resizeGuests(here); err != nil {
		return err
	}
	return r.elsewhere(ctx)
}

// grow makes the device of this host as large as the volume. Where there is
// none, nothing is to be done.
func (r *resizing) grow(ctx context.Context) (err error) {
	conn, err := r.session.connection(ctx, r.backend, r.ref)
	if err != nil {
		return err
	}
	r.path = conn.Path
	release, err := r.session.locks().Volume(ctx, r.ref.Pool, r.ref.Volume)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	ctx, cancel := context.WithTimeout(ctx, r.session.config.Timeouts.Device)
	defer cancel()
	_, err = blockdev.Grow(ctx, machine(), conn)
	if errors.Is(err, blockdev.ErrNotAttached) {
		return nil
	}
	r.grown = err == nil
	return err
}

// elsewhere says what other hosts have to do: nothing reaches them from here.
func (r *resizing) elsewhere(ctx context.Context) error {
	holders, err := r.backend.Holders(ctx, r.ref.Volume)
	if err != nil {
		return err
	}
	self, err := r.session.host()
	if err != nil {
		return err
	}
	for _, h := range holders {
		if h.Host.ID != self.ID {
			r.todo = append(r.todo, fmt.Sprintf("on host %s run 'volbridge volume resize %s --size %s' again: domain %s has it there",
				h.Host.Name, r.ref, units.FormatSize(r.volume.SizeBytes), h.Owner.Name))
		}
	}
	return nil
}

// byHand is what to do for the guests of attachments that libvirt did not show.
func (r *resizing) byHand(here []state.Attachment, because string) {
	for _, at := range here {
		if at.Phase == state.Held && !r.handled(at.DomainUUID) {
			r.todo = append(r.todo, fmt.Sprintf("%s; tell the guest: virsh blockresize %s %s %dB", because, at.DomainName, at.Target, r.volume.SizeBytes))
		}
	}
}

func (r *resizing) handled(uuid string) bool {
	for _, g := range r.guests {
		if g.UUID == uuid {
			return true
		}
	}
	return false
}
