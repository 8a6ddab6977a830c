package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/pool"
)

func domainAdoptCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "adopt", Usage: "take the disks that a pool recognises into management", ArgsUsage: "DOMAIN",
		Description: `Records in the domain's metadata which of its disks are volumes of which pool, in
the running and in the stored definition. In the stored one, <disk
type='volume'> with a pool of volbridge, which libvirt could not start, becomes
a block disk. Every other source stays as it is. A running guest is not touched.

Example:
  volbridge domain adopt web --dry-run`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be done"}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "DOMAIN")
			if err != nil {
				return err
			}
			return a.domainAdopt(c.Context, args[0], c.Bool("dry-run"))
		},
	}
}

// adoption is what is to be done to one of a domain's two definitions.
type adoption struct {
	Definition string      `json:"definition"` // running or stored
	Disks      []adoptDisk `json:"disks"`

	meta    domainxml.Metadata
	rewrite []domainxml.BlockDisk
	doc     *domainxml.Document
}

type adoptDisk struct {
	Target   string `json:"target"`
	Pool     string `json:"pool"`
	Volume   string `json:"volume"`
	By       string `json:"recognised_by"`
	Recorded bool   `json:"recorded_before"`
	Path     string `json:"new_source,omitempty"` // the block device that the source becomes
}

func (d adoptDisk) changes() bool { return !d.Recorded || d.Path != "" }

func (a *app) domainAdopt(ctx context.Context, name string, dryRun bool) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	conn, err := a.libvirt()
	if err != nil {
		return err
	}
	defer conn.Close()
	dom, err := virt.Domain(conn, name)
	if err != nil {
		return err
	}
	defer dom.Free()
	plans, err := s.planAdoption(ctx, dom, name)
	if err != nil {
		return err
	}
	if !dryRun {
		for _, p := range plans {
			if err := p.carryOut(conn, dom); err != nil {
				return fmt.Errorf("adopt the disks of domain %s in its %s definition: %w", name, p.Definition, err)
			}
		}
	}
	if a.json() {
		return a.printJSON(plans)
	}
	return a.tellAdoption(name, plans, dryRun)
}

func (a *app) tellAdoption(name string, plans []*adoption, dryRun bool) error {
	done, any := "recorded", false
	if dryRun {
		done = "would be recorded"
	}
	for _, p := range plans {
		for _, d := range p.Disks {
			any = true
			if d.Recorded {
				a.say("%s definition: disk %s is recorded already as volume %s/%s", p.Definition, d.Target, d.Pool, d.Volume)
			} else {
				a.say("%s definition: disk %s %s as volume %s/%s (recognised by its %s)", p.Definition, d.Target, done, d.Pool, d.Volume, d.By)
			}
			if d.Path != "" {
				a.say("%s definition: the source of disk %s is %s from the next start on", p.Definition, d.Target, d.Path)
			}
		}
	}
	if !any {
		return withHint(withCode(exitNotFound, fmt.Errorf("domain %s has no disk that a pool of this host recognises", name)),
			"'volbridge domain disks %s' shows its disks, 'volbridge volume list' the volumes", name)
	}
	return nil
}

// planAdoption looks at both definitions; a domain has one or both.
func (s *session) planAdoption(ctx context.Context, dom *libvirt.Domain, name string) ([]*adoption, error) {
	active, err := dom.IsActive()
	if err != nil {
		return nil, fmt.Errorf("ask whether domain %s runs: %s", name, virt.Message(err))
	}
	persistent, err := dom.IsPersistent()
	if err != nil {
		return nil, fmt.Errorf("ask whether domain %s is persistent: %s", name, virt.Message(err))
	}
	var plans []*adoption
	for _, d := range []struct {
		name  string
		there bool
		flags libvirt.DomainXMLFlags
	}{
		{"running", active, 0},
		// With its secrets, because what is defined again must keep them.
		{"stored", persistent, libvirt.DOMAIN_XML_INACTIVE | libvirt.DOMAIN_XML_SECURE},
	} {
		if !d.there {
			continue
		}
		doc, err := definition(dom, name, d.flags)
		if err != nil {
			return nil, err
		}
		p := &adoption{Definition: d.name, Disks: []adoptDisk{}, doc: doc}
		if err := s.plan(ctx, p); err != nil {
			return nil, fmt.Errorf("%s definition: %w", d.name, err)
		}
		plans = append(plans, p)
	}
	return plans, nil
}

func (s *session) plan(ctx context.Context, p *adoption) error {
	managed, err := bridge.Managed(ctx, p.doc, s.pools)
	if err != nil {
		return err
	}
	p.meta, _ = p.doc.Metadata()
	for _, d := range managed {
		b, err := s.pools.Open(d.Pool)
		if err != nil {
			return err
		}
		ref := volumeRef{d.Pool, d.Volume}
		conn, err := s.connection(ctx, b, ref)
		if err != nil {
			return fmt.Errorf("disk %s: %w", d.Target, err)
		}
		p.add(d, conn)
	}
	return nil
}

// add plans one disk. The size that the guest sees is its slice, or that of
// the whole volume.
func (p *adoption) add(d bridge.Disk, conn pool.Connection) {
	j := adoptDisk{Target: d.Target, Pool: d.Pool, Volume: d.Volume, By: d.By, Recorded: d.By == bridge.ByMetadata}
	size := d.SizeBytes
	if size == 0 {
		size = conn.SizeBytes
	}
	if !j.Recorded {
		p.meta.Disks = append(p.meta.Disks, domainxml.ManagedDisk{Target: d.Target, Pool: d.Pool, Volume: d.Volume, SizeBytes: size})
	}
	// Only what names the volume itself becomes its device. Any other source is
	// the administrator's: the guest may have data there.
	if p.Definition == "stored" && d.XML.Kind == "volume" {
		j.Path = conn.Path
		block := domainxml.BlockDisk{Target: d.Target, Path: conn.Path}
		if size < conn.SizeBytes {
			block.SliceBytes = size
		}
		p.rewrite = append(p.rewrite, block)
	}
	p.Disks = append(p.Disks, j)
}

func (p *adoption) carryOut(conn *libvirt.Connect, dom *libvirt.Domain) error {
	changes := false
	for _, d := range p.Disks {
		changes = changes || d.changes()
	}
	switch {
	case !changes:
		return nil
	case len(p.rewrite) > 0:
		return p.define(conn)
	}
	impact := libvirt.DOMAIN_AFFECT_CONFIG
	if p.Definition == "running" {
		impact = libvirt.DOMAIN_AFFECT_LIVE
	}
	err := dom.SetMetadata(libvirt.DOMAIN_METADATA_ELEMENT, string(p.meta.Unqualified()), domainxml.Prefix, domainxml.Namespace, impact)
	if err != nil {
		return errors.New(virt.Message(err))
	}
	return nil
}

// define replaces the stored definition by one with block disks.
func (p *adoption) define(conn *libvirt.Connect) error {
	xml, err := p.doc.Rewrite(p.rewrite, &p.meta)
	if err != nil {
		return err
	}
	dom, err := conn.DomainDefineXML(string(xml))
	if err != nil {
		return errors.New(virt.Message(err))
	}
	return dom.Free()
}
