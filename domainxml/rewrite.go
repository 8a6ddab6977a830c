package domainxml

import (
	"errors"
	"fmt"
	"strings"
)

// Rewrite returns the document with each named disk made a raw block disk and,
// if meta is not nil, volbridge's metadata element replaced by it, or created
// with it where there is none. Nothing else changes, byte for byte; what is as
// asked already keeps its bytes too.
//
// A disk that cannot be rewritten gives *UnkeepableError, ErrNoDisk,
// ErrNoMedium, ErrBlockJob or an error that says why, and no document.
func (d *Document) Rewrite(disks []BlockDisk, meta *Metadata) ([]byte, error) {
	e := &edits{raw: d.raw, ascii: d.ascii}
	asked := map[string]bool{}
	for _, want := range disks {
		if asked[want.Target] {
			return nil, d.failed("rewrite", fmt.Errorf("disk %s is asked for twice", want.Target))
		}
		asked[want.Target] = true
		if err := d.rewriteDisk(e, want); err != nil {
			return nil, d.failed("rewrite", fmt.Errorf("disk %s: %w", want.Target, err))
		}
	}
	if meta != nil {
		if err := d.rewriteMetadata(e, *meta); err != nil {
			return nil, d.failed("rewrite the volbridge metadata of", err)
		}
	}
	out, err := e.apply()
	if err != nil {
		return nil, d.failed("rewrite", err)
	}
	return out, nil
}

// rewriteDisk checks everything that could refuse the disk before it notes the
// changes.
func (d *Document) rewriteDisk(e *edits, want BlockDisk) error {
	if err := want.check(); err != nil {
		return err
	}
	i, err := d.find(want.Target)
	if err != nil {
		return err
	}
	if err := rewritable(d.disks[i], d.diskAt[i]); err != nil {
		return err
	}
	if d.disks[i].Device == "lun" && want.SliceBytes > 0 {
		// QEMU's raw driver refuses SCSI passthrough beside a slice.
		return fmt.Errorf("a lun cannot have a storage slice; give it a device of exactly %d bytes, or make it device='disk'", want.SliceBytes)
	}
	b := &blockEdit{edits: e, disk: d.disks[i], el: d.diskAt[i], want: want}
	return b.edit()
}

func (b BlockDisk) check() error {
	if !strings.HasPrefix(b.Path, "/") {
		return fmt.Errorf("device path %q is not absolute", b.Path)
	}
	if b.SliceBytes < 0 {
		return fmt.Errorf("slice of %d bytes", b.SliceBytes)
	}
	return checkText("device path", b.Path)
}

// find returns the index of the only disk with that target.
func (d *Document) find(target string) (int, error) {
	found := -1
	for i, disk := range d.disks {
		if disk.Target != target {
			continue
		}
		if found >= 0 {
			return -1, errors.New("two disks of the domain have this target")
		}
		found = i
	}
	if found < 0 || target == "" {
		return -1, fmt.Errorf("%w; `virsh domblklist` lists them", ErrNoDisk)
	}
	return found, nil
}

// rewritable says why a disk cannot become a raw block disk.
func rewritable(disk Disk, el *element) error {
	for _, name := range []string{"source", "driver"} {
		if el.count(name) > 1 {
			return fmt.Errorf("it has more than one <%s>", name)
		}
	}
	source := el.child("source")
	switch {
	case el.child("mirror") != nil:
		return ErrBlockJob
	case disk.Device == "floppy":
		return errors.New("a floppy cannot be a block device of a pool; leave it where it is")
	case len(disk.Unkeepable) > 0:
		return &UnkeepableError{Target: disk.Target, What: disk.Unkeepable[0]}
	case source == nil || disk.Empty():
		return ErrNoMedium
	case source.count("slices") > 1:
		return errors.New("its <source> has more than one <slices>")
	}
	return nil
}
