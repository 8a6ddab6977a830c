package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/internal/virt"
)

// guestJSON is what became of a domain's disk on the volume.
type guestJSON struct {
	Domain string `json:"domain"`
	UUID   string `json:"uuid"`
	Target string `json:"target"`
	// Resized: the running guest sees the new size. False for a domain that is
	// shut off, and for a guest whose libvirt cannot do it.
	Resized bool `json:"resized"`
	// Stored: the stored definition was changed for the next start.
	Stored bool `json:"stored_definition_changed"`
}

// resizeGuests goes through the domains of this host, running or not: a
// definition that limits the disk by a storage slice would go on doing so at the
// next start.
func (r *resizing) resizeGuests(here []state.Attachment) error {
	conn, err := r.libvirt()
	if err != nil {
		// A host without libvirt has no guests. Those that the records know
		// are told of.
		r.log().WithError(err).Debug("libvirt was not asked for guests on the volume")
		r.byHand(here, fmt.Sprintf("libvirt was not asked (%v)", err))
		return nil
	}
	defer conn.Close()
	domains, err := conn.ListAllDomains(0)
	if err != nil {
		return fmt.Errorf("list the domains of this host: %s", virt.Message(err))
	}
	var errs []error
	for i := range domains {
		if err := r.resizeGuest(conn, &domains[i]); err != nil && !virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
			errs = append(errs, err)
		}
		_ = domains[i].Free() // of this process's memory only
	}
	r.byHand(here, "libvirt shows no such domain on the volume")
	return errors.Join(errs...)
}

func (r *resizing) resizeGuest(conn *libvirt.Connect, dom *libvirt.Domain) error {
	name, err := dom.GetName()
	if err != nil {
		return err
	}
	active, err := dom.IsActive()
	if err != nil {
		return fmt.Errorf("ask whether domain %s runs: %w", name, err)
	}
	persistent, err := dom.IsPersistent()
	if err != nil {
		return fmt.Errorf("ask whether domain %s is persistent: %w", name, err)
	}
	var g guestJSON
	if active {
		if err := r.running(dom, name, &g); err != nil {
			return fmt.Errorf("domain %s: %w", name, err)
		}
	}
	if persistent {
		if err := r.stored(conn, dom, name, &g); err != nil {
			return fmt.Errorf("stored definition of domain %s: %w", name, err)
		}
	}
	if g.UUID != "" {
		r.guests = append(r.guests, g)
	}
	return nil
}

// uses finds the disk of a document that is on the volume.
func (r *resizing) uses(doc *domainxml.Document) (domainxml.Disk, bool) {
	for _, d := range doc.Disks() {
		if d.Kind == "block" && filepath.Clean(d.Source) == r.path {
			return d, true
		}
	}
	return domainxml.Disk{}, false
}

// running tells the guest.
func (r *resizing) running(dom *libvirt.Domain, name string, g *guestJSON) error {
	doc, err := definition(dom, name, 0)
	if err != nil {
		return err
	}
	d, is := r.uses(doc)
	if !is {
		return nil
	}
	*g = guestJSON{Domain: name, UUID: doc.UUID(), Target: d.Target}
	// libvirt 10 and newer lift the slice by this; QEMU of older ones answers
	// "Cannot resize fixed-size raw disks".
	err = dom.BlockResize(d.Target, uint64(r.volume.SizeBytes), libvirt.DOMAIN_BLOCK_RESIZE_BYTES)
	switch {
	case err == nil:
		g.Resized = true
		r.say("disk %s of the running domain %s has %s", d.Target, name, units.FormatSize(r.volume.SizeBytes))
		return r.setSize(dom, doc, d, libvirt.DOMAIN_AFFECT_LIVE)
	case d.SliceBytes > 0:
		r.todo = append(r.todo, fmt.Sprintf("stop domain %s and start it again, to let it see the new size: its disk %s is limited to %s by a storage slice, "+
			"which libvirt lifts from a running guest only from version 10 on (it said: %s)", name, d.Target, units.FormatSize(d.SliceBytes), virt.Message(err)))
		return nil
	}
	return fmt.Errorf("disk %s: resize it in the running guest: %s", d.Target, virt.Message(err))
}

// stored changes what the next start goes by.
func (r *resizing) stored(conn *libvirt.Connect, dom *libvirt.Domain, name string, g *guestJSON) error {
	// With its secrets, because what is defined again must keep them.
	doc, err := definition(dom, name, libvirt.DOMAIN_XML_INACTIVE|libvirt.DOMAIN_XML_SECURE)
	if err != nil {
		return err
	}
	d, is := r.uses(doc)
	if !is {
		return nil
	}
	if g.UUID == "" {
		*g = guestJSON{Domain: name, UUID: doc.UUID(), Target: d.Target}
	}
	if d.SliceBytes == 0 {
		g.Stored = r.outdated(doc, d) != nil
		return r.setSize(dom, doc, d, libvirt.DOMAIN_AFFECT_CONFIG)
	}
	text, err := doc.Rewrite([]domainxml.BlockDisk{{Target: d.Target, Path: d.Source}}, r.outdated(doc, d))
	if err != nil {
		return err
	}
	again, err := conn.DomainDefineXML(string(text))
	if err != nil {
		return errors.New(virt.Message(err))
	}
	g.Stored = true
	r.say("stored definition of domain %s: disk %s is no longer limited to %s", name, d.Target, units.FormatSize(d.SliceBytes))
	return again.Free()
}

// outdated returns the metadata with the new size, or nil if it says that
// already or does not name the disk.
func (r *resizing) outdated(doc *domainxml.Document, d domainxml.Disk) *domainxml.Metadata {
	meta, _ := doc.Metadata()
	for i, m := range meta.Disks {
		if m.Target == d.Target && m.Pool == r.ref.Pool && m.Volume == r.ref.Volume && m.SizeBytes != r.volume.SizeBytes {
			meta.Disks[i].SizeBytes = r.volume.SizeBytes
			return &meta
		}
	}
	return nil
}

// setSize brings the size in the metadata up to date: it is what the guest sees.
func (r *resizing) setSize(dom *libvirt.Domain, doc *domainxml.Document, d domainxml.Disk, impact libvirt.DomainModificationImpact) error {
	meta := r.outdated(doc, d)
	if meta == nil {
		return nil
	}
	if err := dom.SetMetadata(libvirt.DOMAIN_METADATA_ELEMENT, string(meta.Unqualified()), domainxml.Prefix, domainxml.Namespace, impact); err != nil {
		return fmt.Errorf("write the new size of disk %s into the metadata: %s", d.Target, virt.Message(err))
	}
	return nil
}
