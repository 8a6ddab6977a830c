package domainxml

import (
	"cmp"
	"fmt"
	"strconv"
)

// readDisks fills in the disks of all <devices>.
func (d *Document) readDisks() error {
	for _, devices := range d.root.children {
		if !devices.is("devices") {
			continue
		}
		for _, e := range devices.children {
			disk, err := readDisk(e)
			if err != nil {
				return fmt.Errorf("disk %s: %w", disk.Target, err)
			}
			disk.Index = len(d.disks)
			d.disks = append(d.disks, disk)
			d.diskAt = append(d.diskAt, e)
		}
	}
	return nil
}

func readDisk(e *element) (Disk, error) {
	disk := Disk{
		Kind:       cmp.Or(e.attr("type"), "file"),
		Device:     cmp.Or(e.attr("device"), "disk"),
		Target:     e.childAttr("target", "dev"),
		Bus:        e.childAttr("target", "bus"),
		ReadOnly:   e.child("readonly") != nil,
		Shareable:  e.child("shareable") != nil,
		Transient:  e.child("transient") != nil,
		Serial:     childText(e, "serial"),
		WWN:        childText(e, "wwn"),
		Backing:    readBacking(e),
		Unkeepable: unkeepable(e),
	}
	if driver := e.child("driver"); driver != nil {
		disk.Format = driver.attr("type")
		disk.Cache = driver.attr("cache")
		disk.IO = driver.attr("io")
		disk.Discard = driver.attr("discard")
		disk.DetectZeroes = driver.attr("detect_zeroes")
	}
	source := e.child("source")
	if source == nil {
		return disk, nil
	}
	disk.Source = sourceName(disk.Kind, source)
	if disk.Kind == "volume" {
		disk.Pool, disk.Volume = source.attr("pool"), source.attr("volume")
	}
	size, err := sliceSize(source)
	disk.SliceBytes = size
	return disk, err
}

// childText keeps blanks: the guest sees them in a serial.
func childText(e *element, local string) string {
	if c := e.child(local); c != nil {
		return string(c.text)
	}
	return ""
}

// sourceName returns what a source of this kind is called by; volume and NVMe
// sources have no single name. A kind that libvirt may add has one of the usual
// attributes.
func sourceName(kind string, source *element) string {
	switch kind {
	case "file":
		return source.attr("file")
	case "block", "vhostvdpa":
		return source.attr("dev")
	case "dir":
		return source.attr("dir")
	case "network":
		return source.attr("name")
	case "vhostuser":
		return source.attr("path")
	case "volume", "nvme":
		return ""
	}
	return cmp.Or(source.attr("dev"), source.attr("file"), source.attr("path"), source.attr("name"))
}

func sliceSize(source *element) (int64, error) {
	slice := storageSlice(source)
	if slice == nil {
		return 0, nil
	}
	size, err := strconv.ParseInt(slice.attr("size"), 10, 64)
	if err != nil || size <= 0 {
		return 0, fmt.Errorf("storage slice of size %q; a positive number of bytes is needed", slice.attr("size"))
	}
	return size, nil
}

// storageSlice returns the slice that says which part of the storage is used,
// or nil.
func storageSlice(source *element) *element {
	slices := source.child("slices")
	if slices == nil {
		return nil
	}
	for _, slice := range slices.children {
		if slice.is("slice") && slice.attr("type") == "storage" {
			return slice
		}
	}
	return nil
}

// readBacking lists the chain down to its explicit end, an empty
// <backingStore/>.
func readBacking(e *element) []Backing {
	var chain []Backing
	for b := e.child("backingStore"); b != nil && len(b.children) > 0; b = b.child("backingStore") {
		link := Backing{Kind: cmp.Or(b.attr("type"), "file"), Format: b.childAttr("format", "type")}
		if source := b.child("source"); source != nil {
			link.Source = sourceName(link.Kind, source)
		}
		chain = append(chain, link)
	}
	return chain
}

// unkeepable finds encryption and reservations. Encryption also counts on the
// disk itself, where old documents have it, and in the backing chain: a copy
// would store in the clear what was not.
func unkeepable(e *element) []string {
	var found []string
	if e.holds("encryption") {
		found = append(found, "encryption")
	}
	if source := e.child("source"); source != nil && source.holds("reservations") {
		found = append(found, "reservations")
	}
	return found
}
