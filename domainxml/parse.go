package domainxml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Document is one parsed domain document. It does not change; several
// goroutines may use it at once.
type Document struct {
	raw   []byte
	root  *element
	ascii bool // other characters must be written as references

	disks   []Disk
	diskAt  []*element // of disks, by index
	meta    Metadata
	hasMeta bool
}

// Parse reads a whole domain document. It accepts what `virsh dumpxml` prints
// and what libvirt gives to its hooks; other documents of libvirt give
// ErrNotDomain. Volbridge's own metadata must be in order: an element that
// cannot be understood is an error, since going on without it would treat
// managed disks as foreign.
func Parse(xml []byte) (*Document, error) {
	if len(xml) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, len(xml), MaxBytes)
	}
	raw := slices.Clone(xml)
	root, ascii, err := walk(raw)
	if err != nil {
		return nil, err
	}
	d := &Document{raw: raw, root: root, ascii: ascii}
	if err := d.readDisks(); err != nil {
		return nil, d.failed("read", err)
	}
	if err := d.readMetadata(); err != nil {
		return nil, d.failed("read", err)
	}
	return d, nil
}

// failed names the domain in an error.
func (d *Document) failed(act string, err error) error {
	return fmt.Errorf("%s domain %s: %w", act, cmp.Or(d.Name(), "(no name)"), err)
}

// Name returns the domain's name.
func (d *Document) Name() string {
	if e := d.root.child("name"); e != nil {
		return string(e.text)
	}
	return ""
}

// UUID returns the domain's UUID in lower case, "" if it has none yet.
func (d *Document) UUID() string {
	if e := d.root.child("uuid"); e != nil {
		return strings.ToLower(strings.TrimSpace(string(e.text)))
	}
	return ""
}

// Type returns the domain's hypervisor type: kvm, qemu, …
func (d *Document) Type() string { return d.root.attr("type") }

// Disks returns the disks in the order of the document.
func (d *Document) Disks() []Disk { return slices.Clone(d.disks) }

// Disk returns the disk with that target, vda for example.
func (d *Document) Disk(target string) (Disk, bool) {
	for _, disk := range d.disks {
		if disk.Target == target {
			return disk, true
		}
	}
	return Disk{}, false
}

// Bytes returns the document as it was given to Parse. The caller must not
// change it.
func (d *Document) Bytes() []byte { return d.raw }
