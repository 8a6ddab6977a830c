package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/domainxml"
)

func domainCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "domain",
		Usage: "see a domain's disks, take them into management or out of it",
		Description: `Example:
  volbridge domain disks web`,
		Subcommands: []*cli.Command{domainDisksCommand(a), domainRewriteCommand(a), domainAdoptCommand(a), domainForgetCommand(a)},
	}
}

func domainDisksCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "disks", Usage: "show a domain's disks and which of them volbridge manages", ArgsUsage: "FILE|DOMAIN|-",
		Description: `The argument is a file with domain XML if there is one of that name, "-" for
standard input, else a domain of libvirt: name, UUID or id. MANAGED BY says what
made volbridge recognise a disk: the domain's metadata, the path of its source,
or <disk type='volume'> with a configured pool.

Examples:
  volbridge domain disks web
  virsh -c qemu+ssh://kvm02/system dumpxml web | volbridge domain disks -`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "FILE, DOMAIN or -")
			if err != nil {
				return err
			}
			return a.domainDisks(c.Context, args[0])
		},
	}
}

type diskJSON struct {
	Target    string   `json:"target"`
	Type      string   `json:"type"`
	Device    string   `json:"device"`
	Bus       string   `json:"bus,omitempty"`
	Source    string   `json:"source"`
	Format    string   `json:"format"`
	SizeBytes int64    `json:"size_bytes,omitempty"` // that the guest sees, where it is known
	Slice     int64    `json:"slice_bytes,omitempty"`
	ReadOnly  bool     `json:"read_only"`
	Shareable bool     `json:"shareable"`
	Backing   []string `json:"backing"`
	Managed   bool     `json:"managed"`
	ManagedBy string   `json:"managed_by,omitempty"`
	Pool      string   `json:"pool,omitempty"`
	Volume    string   `json:"volume,omitempty"`
}

func (a *app) domainDisks(ctx context.Context, arg string) error {
	s, configured, err := a.openLoosely()
	if err != nil {
		return err
	}
	doc, err := a.document(arg)
	if err != nil {
		return err
	}
	managed, recognising := bridge.Managed(ctx, doc, s.pools)
	if !configured && recognising != nil {
		a.warn("%v", recognising)
		recognising = nil
	}
	list := toDisksJSON(doc, managed)
	if a.json() {
		err = a.printJSON(list)
	} else {
		err = a.printTable([]string{"TARGET", "TYPE", "SOURCE", "FORMAT", "SIZE", "VOLUME", "MANAGED BY"}, diskRows(list))
	}
	if err != nil {
		return err
	}
	return recognising
}

func toDisksJSON(doc *domainxml.Document, managed []bridge.Disk) []diskJSON {
	byTarget := map[string]bridge.Disk{}
	for _, m := range managed {
		byTarget[m.Target] = m
	}
	list := []diskJSON{}
	for _, d := range doc.Disks() {
		j := diskJSON{
			Target: d.Target, Type: d.Kind, Device: d.Device, Bus: d.Bus, Source: sourceOf(d), Format: d.Format,
			SizeBytes: d.SliceBytes, Slice: d.SliceBytes, ReadOnly: d.ReadOnly, Shareable: d.Shareable, Backing: []string{},
		}
		for _, b := range d.Backing {
			j.Backing = append(j.Backing, b.Source)
		}
		if m, ok := byTarget[d.Target]; ok {
			j.Managed, j.ManagedBy, j.Pool, j.Volume = true, m.By, m.Pool, m.Volume
			j.SizeBytes = max(j.SizeBytes, m.SizeBytes)
		}
		list = append(list, j)
	}
	return list
}

func sourceOf(d domainxml.Disk) string {
	if d.Kind == "volume" {
		return d.Pool + "/" + d.Volume
	}
	return d.Source
}

func diskRows(list []diskJSON) [][]string {
	var rows [][]string
	for _, d := range list {
		kind := d.Type
		if d.Device != "disk" {
			kind += " " + d.Device
		}
		volume := ""
		if d.Managed {
			volume = d.Pool + "/" + d.Volume
		}
		source := d.Source
		if len(d.Backing) > 0 {
			source += " <- " + strings.Join(d.Backing, " <- ")
		}
		size := sizeText(d.SizeBytes)
		if d.Slice > 0 {
			size += " (slice)"
		}
		rows = append(rows, []string{d.Target, kind, source, d.Format, size, volume, d.ManagedBy})
	}
	return rows
}
