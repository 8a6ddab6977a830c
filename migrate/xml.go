package migrate

import (
	"fmt"

	"github.com/volbridge/volbridge/domainxml"
)

// destinationXML is the document with every copied disk on its new volume,
// and the metadata that says so. It serves the running and the stored
// definition: a copied disk that the stored definition lacks, or that it has
// on another source, is left out there, and named in skipped.
func destinationXML(xml string, live *domainxml.Document, copies []DiskPlan) (out string, skipped []string, err error) {
	doc, err := domainxml.Parse([]byte(xml))
	if err != nil {
		return "", nil, err
	}
	meta, _ := doc.Metadata()
	meta.Arrival = "" // a token of an earlier arrival means nothing to the next host
	var blocks []domainxml.BlockDisk
	for _, c := range copies {
		if !sameSource(doc, live, c.Target) {
			skipped = append(skipped, c.Target)
			continue
		}
		// The slice is written even where the sizes are equal: the mirror
		// needs exact equality, and only a slice makes it certain.
		blocks = append(blocks, domainxml.BlockDisk{Target: c.Target, Path: c.Path, SliceBytes: c.GuestBytes})
		meta.Disks = declare(meta.Disks, domainxml.ManagedDisk{
			Target: c.Target, Pool: c.Pool, Volume: c.Volume, SizeBytes: c.GuestBytes, Origin: c.From,
		})
	}
	b, err := doc.Rewrite(blocks, &meta)
	if err != nil {
		return "", nil, fmt.Errorf("write the destination's definition: %w", err)
	}
	return string(b), skipped, nil
}

// sameSource says whether both documents have the disk on the same source.
func sameSource(doc, live *domainxml.Document, target string) bool {
	a, ok := doc.Disk(target)
	if !ok {
		return false
	}
	b, ok := live.Disk(target)
	return ok && a.Kind == b.Kind && a.Source == b.Source && a.Pool == b.Pool && a.Volume == b.Volume
}

// declare puts d into the list, in the place of an entry for the same target.
func declare(list []domainxml.ManagedDisk, d domainxml.ManagedDisk) []domainxml.ManagedDisk {
	out := append([]domainxml.ManagedDisk(nil), list...)
	for i := range out {
		if out[i].Target == d.Target {
			out[i] = d
			return out
		}
	}
	return append(out, d)
}
