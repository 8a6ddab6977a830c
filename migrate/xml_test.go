package migrate

import (
	"strings"
	"testing"

	"github.com/volbridge/volbridge/domainxml"
)

func TestDestinationXML(t *testing.T) {
	live, err := domainxml.Parse([]byte(twoDiskXML))
	if err != nil {
		t.Fatal(err)
	}
	copies := []DiskPlan{{Target: "vda", Action: Copy, From: "/images/web1.qcow2", Pool: "fast", Volume: "web1-vda", GuestBytes: 100, VolumeBytes: 104, Path: "/dev/volbridge/fast/web1-vda"}}
	out, skipped, err := destinationXML(twoDiskXML, live, copies)
	if err != nil || len(skipped) > 0 {
		t.Fatal(err, skipped)
	}
	doc, err := domainxml.Parse([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	vda, _ := doc.Disk("vda")
	if vda.Kind != "block" || vda.Source != "/dev/volbridge/fast/web1-vda" || vda.Format != "raw" || vda.SliceBytes != 100 {
		t.Errorf("vda is %+v", vda)
	}
	before, _ := live.Disk("vdb")
	if after, _ := doc.Disk("vdb"); after.Source != before.Source || after.SliceBytes != 0 {
		t.Errorf("vdb changed to %+v", after)
	}
	m, _ := doc.Metadata()
	if len(m.Disks) != 2 || m.Disks[1] != (domainxml.ManagedDisk{Target: "vda", Pool: "fast", Volume: "web1-vda", SizeBytes: 100, Origin: "/images/web1.qcow2"}) {
		t.Errorf("metadata is %+v", m)
	}
}

// A stored definition that has the disk elsewhere is the administrator's plan
// for the next start; it is not overwritten.
func TestDestinationXMLLeavesAnotherSourceAlone(t *testing.T) {
	live, err := domainxml.Parse([]byte(twoDiskXML))
	if err != nil {
		t.Fatal(err)
	}
	stored := strings.Replace(twoDiskXML, "/images/web1.qcow2", "/images/next.qcow2", 1)
	out, skipped, err := destinationXML(stored, live, []DiskPlan{{Target: "vda", Path: "/dev/x", GuestBytes: 1, Pool: "fast", Volume: "v"}})
	if err != nil || len(skipped) != 1 || out != stored {
		t.Errorf("skipped %q, error %v, definition changed: %v", skipped, err, out != stored)
	}
}
