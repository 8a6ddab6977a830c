package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/virt"
)

func domainForgetCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "forget", Usage: "take a disk out of the domain's metadata", ArgsUsage: "DOMAIN TARGET",
		Description: `Removes what the domain's metadata says of one disk, from the running and from
the stored definition: for a disk that was moved off its volume for good, by a
snapshot or a block copy. The disk itself, the volume and what this host holds of
it stay as they are. A disk whose source is a volume of a pool stays managed,
because the source says so too.

Examples:
  volbridge domain forget web vda --dry-run
  volbridge domain forget web vda`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be done"}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "DOMAIN", "TARGET")
			if err != nil {
				return err
			}
			return a.domainForget(args[0], args[1], c.Bool("dry-run"))
		},
	}
}

// forgetting is an entry that goes from one of a domain's two definitions.
type forgetting struct {
	Definition string `json:"definition"` // running or stored
	Target     string `json:"target"`
	Pool       string `json:"pool"`
	Volume     string `json:"volume"`

	rest   domainxml.Metadata
	impact libvirt.DomainModificationImpact
}

// domainForget needs neither configuration nor pool: the entry may be of one
// that is no more.
func (a *app) domainForget(name, target string, dryRun bool) error {
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
	plans, err := planForgetting(dom, name, target)
	if err != nil {
		return err
	}
	if len(plans) == 0 {
		return withHint(withCode(exitNotFound, fmt.Errorf("the metadata of domain %s has no disk %s", name, target)),
			"'volbridge domain disks %s' shows its disks and which of them the metadata names", name)
	}
	done := "is no longer"
	if dryRun {
		done = "would no longer be"
	}
	for _, p := range plans {
		if !dryRun {
			if err := p.carryOut(dom); err != nil {
				return fmt.Errorf("forget disk %s of domain %s in its %s definition: %w", target, name, p.Definition, err)
			}
		}
		if !a.json() {
			a.say("%s definition: disk %s %s recorded as volume %s/%s", p.Definition, target, done, p.Pool, p.Volume)
		}
	}
	if a.json() {
		return a.printJSON(plans)
	}
	return nil
}

// planForgetting looks at both definitions; either may have the entry.
func planForgetting(dom *libvirt.Domain, name, target string) ([]forgetting, error) {
	active, err := dom.IsActive()
	if err != nil {
		return nil, fmt.Errorf("ask whether domain %s runs: %s", name, virt.Message(err))
	}
	persistent, err := dom.IsPersistent()
	if err != nil {
		return nil, fmt.Errorf("ask whether domain %s is persistent: %s", name, virt.Message(err))
	}
	var plans []forgetting
	for _, d := range []struct {
		name   string
		there  bool
		flags  libvirt.DomainXMLFlags
		impact libvirt.DomainModificationImpact
	}{
		{"running", active, 0, libvirt.DOMAIN_AFFECT_LIVE},
		{"stored", persistent, libvirt.DOMAIN_XML_INACTIVE, libvirt.DOMAIN_AFFECT_CONFIG},
	} {
		if !d.there {
			continue
		}
		doc, err := definition(dom, name, d.flags)
		if err != nil {
			return nil, fmt.Errorf("%s definition: %w", d.name, err)
		}
		meta, _ := doc.Metadata()
		at := slices.IndexFunc(meta.Disks, func(m domainxml.ManagedDisk) bool { return m.Target == target })
		if at < 0 {
			continue
		}
		m := meta.Disks[at]
		meta.Disks = slices.Delete(meta.Disks, at, at+1)
		plans = append(plans, forgetting{Definition: d.name, Target: target, Pool: m.Pool, Volume: m.Volume, rest: meta, impact: d.impact})
	}
	return plans, nil
}

// carryOut writes what is left of the metadata; without a disk the element
// goes. A token left in it counts only while a domain arrives, and nobody can
// call this then.
func (p forgetting) carryOut(dom *libvirt.Domain) error {
	element := "" // removes it
	if len(p.rest.Disks) > 0 {
		element = string(p.rest.Unqualified())
	}
	if err := dom.SetMetadata(libvirt.DOMAIN_METADATA_ELEMENT, element, domainxml.Prefix, domainxml.Namespace, p.impact); err != nil {
		return errors.New(virt.Message(err))
	}
	return nil
}
