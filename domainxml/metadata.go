package domainxml

import (
	"errors"
	"fmt"
	"strconv"
)

// Metadata returns volbridge's element in the domain's <metadata>, and false
// if there is none.
func (d *Document) Metadata() (Metadata, bool) {
	m := d.meta
	m.Disks = append([]ManagedDisk(nil), m.Disks...)
	return m, d.hasMeta
}

// metadataElement returns our element and the <metadata> around it; either may
// be nil.
func (d *Document) metadataElement() (ours, around *element) {
	around = d.root.child("metadata")
	if around != nil && len(around.children) > 0 {
		ours = around.children[0]
	}
	return ours, around
}

func (d *Document) readMetadata() error {
	ours, around := d.metadataElement()
	if ours == nil {
		return nil
	}
	if len(around.children) > 1 {
		return errors.New("volbridge metadata: two elements, libvirt keeps only one per namespace; remove one")
	}
	m, err := decodeMetadata(ours)
	if err != nil {
		return fmt.Errorf("volbridge metadata: %w", err)
	}
	d.meta, d.hasMeta = m, true
	return nil
}

// decodeMetadata ignores elements and attributes that it does not know: a
// newer volbridge may have written them.
func decodeMetadata(e *element) (Metadata, error) {
	var m Metadata
	if e.name.Local != "domain" {
		return m, fmt.Errorf("element <%s> where <domain> is expected", e.name.Local)
	}
	arrivals := 0
	for _, c := range e.children {
		if c.name.Space != Namespace {
			continue
		}
		switch c.name.Local {
		case "disk":
			disk, err := decodeManagedDisk(c)
			if err != nil {
				return m, err
			}
			m.Disks = append(m.Disks, disk)
		case "arrival":
			arrivals++
			m.Arrival = c.attr("token")
			if m.Arrival == "" || arrivals > 1 {
				return m, errors.New("<arrival> must be there once at most and have a token")
			}
		}
	}
	return m, m.Check()
}

func decodeManagedDisk(e *element) (ManagedDisk, error) {
	disk := ManagedDisk{
		Target: e.attr("target"),
		Pool:   e.attr("pool"),
		Volume: e.attr("volume"),
		Origin: e.attr("origin"),
	}
	if e.attrIndex("size") < 0 {
		return disk, nil
	}
	size, err := strconv.ParseInt(e.attr("size"), 10, 64)
	if err != nil || size <= 0 {
		return disk, fmt.Errorf("disk %s: size %q is not a positive number of bytes", disk.Target, e.attr("size"))
	}
	disk.SizeBytes = size
	return disk, nil
}

// Check says what is wrong with the metadata, if anything: each disk needs a
// target of its own, a pool and a volume, in characters that XML can carry.
func (m Metadata) Check() error {
	seen := map[string]bool{}
	for _, disk := range m.Disks {
		if err := disk.check(); err != nil {
			return err
		}
		if seen[disk.Target] {
			return fmt.Errorf("disk %s is there twice", disk.Target)
		}
		seen[disk.Target] = true
	}
	return checkText("arrival token", m.Arrival)
}

func (d ManagedDisk) check() error {
	for _, f := range []struct {
		name, value string
		needed      bool
	}{
		{"target", d.Target, true},
		{"pool", d.Pool, true},
		{"volume", d.Volume, true},
		{"origin", d.Origin, false},
	} {
		if f.needed && f.value == "" {
			return fmt.Errorf("disk %s has no %s", d.Target, f.name)
		}
		if err := checkText(f.name, f.value); err != nil {
			return fmt.Errorf("disk %s: %w", d.Target, err)
		}
	}
	if d.SizeBytes < 0 {
		return fmt.Errorf("disk %s has a size of %d bytes", d.Target, d.SizeBytes)
	}
	return nil
}

// Equal reports whether both say the same.
func (m Metadata) Equal(o Metadata) bool {
	if m.Arrival != o.Arrival || len(m.Disks) != len(o.Disks) {
		return false
	}
	for i := range m.Disks {
		if m.Disks[i] != o.Disks[i] {
			return false
		}
	}
	return true
}
