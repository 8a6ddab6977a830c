package scenario

import "testing"

// A snapshot moves a guest off the volume that its metadata names. What would
// put it back on the old data is refused, and the way back is the one that the
// refusal names.
func TestSnapshotLeavesTheMetadataStale(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.on(c.a, "volbridge", "domain", "adopt", g.name)
	c.snapshot(g, "s1")
	c.wants(c.refused(c.a, "volbridge", "domain", "adopt", g.name), "disk vda", "/images/s1", "above "+device("exact", "web1"))
	c.wants(c.refused(c.a, "virsh", "migrate", "--live", "--unsafe", g.name, c.b.URI()), "disk vda", "/images/s1", "blockcommit")
	c.runsOnlyOn(g, c.a)

	c.on(c.a, "virsh", "blockcommit", g.name, "vda", "--active", "--pivot", "--wait")
	c.on(c.a, "virsh", "migrate", "--live", "--persistent", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// The same with a saved image: it is not restored, stays saved, and neither
// the volume nor the overlay is touched.
func TestSavedAfterASnapshot(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.on(c.a, "volbridge", "domain", "adopt", g.name)
	c.snapshot(g, "s1")
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

// snapshot puts an overlay above disk vda, of which libvirt keeps no record.
func (c *cluster) snapshot(g *guest, name string) {
	c.Helper()
	c.on(c.a, "virsh", "snapshot-create-as", g.name, "--disk-only", "--no-metadata", "--atomic",
		"--diskspec", "vda,snapshot=external,file=/var/lib/libvirt/images/"+name)
}
