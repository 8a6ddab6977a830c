package scenario

import (
	"os"
	"strings"
	"testing"
)

// A snapshot moves a guest off the volume that its metadata names. What would
// put it back on the old data is refused, and the way back is the one that the
// refusal names.
func TestSnapshotLeavesTheMetadataStale(t *testing.T) {
	c := up(t, "")
	g, _ := c.snapshotted()
	c.wants(c.refused(c.a, "volbridge", "domain", "adopt", g.name), "disk vda", "/images/s1", "above "+device("exact", "web1"))
	c.wants(c.refused(c.a, "virsh", "migrate", "--live", "--unsafe", g.name, c.b.URI()), "disk vda", "/images/s1", "blockcommit")
	c.runsOnlyOn(g, c.a)

	c.on(c.a, "virsh", "blockcommit", g.name, "vda", "--active", "--pivot", "--wait")
	c.on(c.a, "virsh", "migrate", "--live", "--persistent", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// A guest that stopped above a volume is merged without running, as the document
// says: a domain that never runs has the volume meanwhile. Nothing that the guest wrote is lost.
func TestMergeWhileTheGuestIsOff(t *testing.T) {
	c := up(t, "")
	g, xml := c.snapshotted()
	c.ticks(g)
	c.on(c.a, "virsh", "destroy", g.name)
	c.nothingLeft("exact/web1")
	c.wants(c.refused(c.a, "virsh", "start", g.name), "disk vda", "/images/s1", "docs/operations.md")

	merge := strings.NewReplacer("type='kvm'", "type='qemu'", "/dev/disk/by-id/nvme-eui.…", device("exact", "web1")).
		Replace(documented(t, "A disk above its volume"))
	c.must(c.a.WriteFile("/root/merge.xml", []byte(merge), 0o600))
	c.on(c.a, "virsh", "create", "--paused", "/root/merge.xml")
	c.on(c.a, "qemu-img", "commit", "-f", "qcow2", "/var/lib/libvirt/images/s1")
	c.on(c.a, "virsh", "destroy", "web1-merge")
	c.nothingLeft("exact/web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// The same with a saved image: it is not restored, stays saved, and neither
// the volume nor the overlay is touched.
func TestSavedAfterASnapshot(t *testing.T) {
	c := up(t, "")
	g, _ := c.snapshotted()
	c.ticks(g)
	c.on(c.a, "virsh", "managedsave", g.name)
	c.nothingLeft("exact/web1") // the release goes by the records
	images := func() string { return c.on(c.a, "sha256sum", "/var/lib/libvirt/images/s1", g.boot) }
	before := images()
	for range 2 {
		c.wants(c.refused(c.a, "virsh", "start", g.name), "disk vda", "/images/s1", "above "+device("exact", "web1"))
	}
	if after := images(); after != before {
		t.Errorf("the images were\n%s, and are\n%s", before, after)
	}
	c.wants(c.on(c.a, "virsh", "list", "--all", "--with-managed-save", "--name"), g.name)

	c.on(c.a, "volbridge", "domain", "forget", g.name, "vda")
	c.on(c.a, "virsh", "managedsave-remove", g.name)
	c.on(c.a, "virsh", "undefine", g.name)
	c.nothingLeft("exact/web1")
}

// snapshotted starts a guest on volume exact/web1 and puts an overlay above its
// disk, of which libvirt keeps no record. xml is its definition without that.
func (c *cluster) snapshotted() (g *guest, xml string) {
	c.Helper()
	g, xml = c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.on(c.a, "volbridge", "domain", "adopt", g.name)
	c.on(c.a, "virsh", "snapshot-create-as", g.name, "--disk-only", "--no-metadata", "--atomic",
		"--diskspec", "vda,snapshot=external,file=/var/lib/libvirt/images/s1")
	return g, xml
}

// documented is the XML in a section of docs/operations.md.
func documented(t *testing.T, section string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## "+section+"\n")
	_, rest, _ = strings.Cut(rest, "```xml\n")
	xml, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatalf("section %q has no XML", section)
	}
	return xml
}
