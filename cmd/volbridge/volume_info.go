package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

func volumeInfoCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "info", Usage: "show one volume, who holds it, and where it is attached here", ArgsUsage: "POOL/VOLUME",
		Description: `Example:
  volbridge volume info fast/web`,
		Action: func(c *cli.Context) error {
			ref, err := volumeArgument(c)
			if err != nil {
				return err
			}
			return a.volumeInfo(c.Context, ref)
		},
	}
}

type volumeInfoJSON struct {
	volumeJSON
	Attached []attachmentJSON `json:"attached_here"`
}

type attachmentJSON struct {
	Domain     string    `json:"domain"`
	DomainUUID string    `json:"domain_uuid"`
	Target     string    `json:"target"`
	Phase      string    `json:"phase"`
	Path       string    `json:"path"`
	Updated    time.Time `json:"updated"`
}

func (a *app) volumeInfo(ctx context.Context, ref volumeRef) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, err := s.backend(ref)
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
	conn, err := s.connection(ctx, b, ref)
	if err != nil {
		return err
	}
	// Who may not read the records is told so, and gets the rest.
	here, err := s.attachments(ctx, ref.Pool, ref.Volume)
	if err != nil {
		a.warn("what is attached on this host is not known: %v", err)
	}
	if a.json() {
		return a.printJSON(toVolumeInfoJSON(v, holders, conn.Path, here))
	}
	return a.printFields(volumeFields(v, holders, conn.Path, here))
}

func toVolumeInfoJSON(v pool.Volume, holders []pool.Holder, path string, here []state.Attachment) volumeInfoJSON {
	j := volumeInfoJSON{toVolumeJSON(v, holders), []attachmentJSON{}}
	j.Path = path
	for _, at := range here {
		j.Attached = append(j.Attached, attachmentJSON{
			Domain: at.DomainName, DomainUUID: at.DomainUUID, Target: at.Target,
			Phase: string(at.Phase), Path: at.Path, Updated: at.Updated,
		})
	}
	return j
}

func volumeFields(v pool.Volume, holders []pool.Holder, path string, here []state.Attachment) [][2]string {
	fields := [][2]string{
		{"Volume", v.Pool + "/" + v.Name},
		{"Size", fmt.Sprintf("%s (%d bytes)", dash(sizeText(v.SizeBytes)), v.SizeBytes)},
		{"Path", path},
		{"Identity", string(v.Identity)},
		{"Created", timeText(v.Created)},
	}
	for _, h := range holders {
		fields = append(fields, [2]string{"Held by", fmt.Sprintf("host %s for %s (%s, since %s)",
			h.Host.Name, h.Owner.Text(), h.Mode, timeText(h.Since))})
	}
	for _, at := range here {
		what := fmt.Sprintf("disk %s of domain %s", at.Target, at.DomainName)
		if at.DomainName == pool.CopyOwner {
			what = "for " + pool.Owner{Name: at.DomainName}.Text()
		}
		fields = append(fields, [2]string{"Attached here", fmt.Sprintf("%s (%s)", what, at.Phase)})
	}
	return fields
}

func volumePathCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "path", Usage: "print the path of a volume's device, for domain XML", ArgsUsage: "POOL/VOLUME",
		Description: `Prints what to write as <source dev='…'>. The device exists while a domain that
uses it runs on this host.

virt-install's own --disk wants the device to be there already. So give it the
disk as XML:

Example:
  P=$(volbridge volume path fast/web)
  virt-install --import --disk none \
    --xml xpath.create=./devices/disk \
    --xml ./devices/disk/@type=block --xml ./devices/disk/@device=disk \
    --xml ./devices/disk/driver/@name=qemu \
    --xml ./devices/disk/driver/@type=raw \
    --xml ./devices/disk/driver/@cache=none \
    --xml ./devices/disk/driver/@io=native \
    --xml ./devices/disk/source/@dev=$P \
    --xml ./devices/disk/target/@dev=vda \
    --xml ./devices/disk/target/@bus=virtio …`,
		Action: func(c *cli.Context) error {
			ref, err := volumeArgument(c)
			if err != nil {
				return err
			}
			return a.volumePath(c.Context, ref)
		},
	}
}

func (a *app) volumePath(ctx context.Context, ref volumeRef) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, err := s.backend(ref)
	if err != nil {
		return err
	}
	conn, err := s.connection(ctx, b, ref)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(map[string]string{"pool": ref.Pool, "name": ref.Volume, "path": conn.Path})
	}
	_, err = fmt.Fprintln(a.out, conn.Path)
	return err
}
