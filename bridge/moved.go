package bridge

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/volbridge/volbridge/domainxml"
)

// mayBe says whether a source that no pool of this host claims may be the
// volume of the metadata: its path names that very volume, which is gone or
// whose pool this host does not have; or it is of type='volume' and names it. A
// path in the form of another host its pool would have claimed.
func (d Disk) mayBe(m domainxml.ManagedDisk) bool {
	switch d.XML.Kind {
	case "volume":
		return d.XML.Pool == m.Pool && d.XML.Volume == m.Volume
	case "block", "file":
		return d.named(m)
	}
	return false
}

// named says whether the path is that of the volume, be it there or not.
func (d Disk) named(m domainxml.ManagedDisk) bool {
	return filepath.Clean(d.XML.Source) == LinkDir+m.Pool+"/"+m.Volume
}

// movedError: the guest was moved off the device of its volume.
type movedError struct{ text string }

func (e *movedError) Error() string { return e.text }

// moved refuses a disk that is not on the volume that the metadata names.
func moved(domain string, d Disk) error {
	return &movedError{fmt.Sprintf("it is no longer on volume %s/%s, which the metadata still names: it is on %s; "+
		"if that is right, run \"volbridge domain forget %[4]s %[5]s\", else put the source back: from a snapshot's overlay "+
		"with \"virsh blockcommit %[4]s %[5]s --active --pivot\" while the guest runs (if it is off, see \"A disk above its volume\" "+
		"in docs/operations.md), otherwise with \"virsh edit\"",
		d.Pool, d.Volume, sourceText(d.XML), domain, d.Target)}
}

// overlaid refuses a disk that is not on a device of volbridge but writes above
// one. The device is not attached for it, and its volume must not be handed to
// the guest without what is above.
func (r recogniser) overlaid(ctx context.Context, x domainxml.Disk) error {
	domain := r.domain
	for _, b := range x.Backing {
		ours := strings.HasPrefix(filepath.Clean(b.Source), LinkDir)
		if !ours {
			var err error
			if _, ours, err = r.byPath(ctx, b.Kind, b.Source, ""); err != nil {
				return err
			}
		}
		if ours {
			return &movedError{fmt.Sprintf("it is on %s, an overlay such as a snapshot makes, above %s: while the guest runs, "+
				"merge it with \"virsh blockcommit %s %s --active --pivot\"; if it does not run, see \"A disk above its volume\" "+
				"in docs/operations.md (\"virsh edit\" alone would lose what is in the overlay)", sourceText(x), b.Source, domain, x.Target)}
		}
	}
	return nil
}

// sourceText says what a disk is on.
func sourceText(x domainxml.Disk) string {
	if x.Kind == "volume" {
		return fmt.Sprintf("type='volume' %s/%s", x.Pool, x.Volume)
	}
	return strings.TrimSpace(x.Kind + " " + x.Source)
}

// rewritable refuses to make a plain raw disk of one that is more: what is
// above or below the device, and how its content is laid out, would be lost.
func (d Disk) rewritable() error {
	switch x := d.XML; {
	case len(x.Backing) > 0:
		return fmt.Errorf("%s has a backing chain (%s), which a raw volume cannot keep: end it with \"virsh blockpull\"",
			sourceText(x), x.Backing[0].Source)
	case x.Format != "" && x.Format != "raw":
		return fmt.Errorf("%s holds format %s, and would be read as raw: copy the disk to the volume as raw", sourceText(x), x.Format)
	}
	return nil
}
