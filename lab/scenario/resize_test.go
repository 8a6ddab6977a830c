package scenario

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/lab"
)

// sliced limits a block disk of a definition to its first bytes.
func sliced(disk, path string, sizeBytes int64) string {
	return strings.Replace(disk, fmt.Sprintf("<source dev='%s'/>", path),
		fmt.Sprintf("<source dev='%s'><slices><slice type='storage' offset='0' size='%d'/></slices></source>", path, sizeBytes), 1)
}

// capacity is what the running guest sees of a disk.
func (c *cluster) capacity(h *lab.Host, g *guest, target string) (sizeBytes int64) {
	c.Helper()
	for _, line := range strings.Split(c.on(h, "virsh", "domblkinfo", g.name, target), "\n") {
		if rest, is := strings.CutPrefix(line, "Capacity:"); is {
			_, err := fmt.Sscan(rest, &sizeBytes)
			c.must(err)
		}
	}
	return sizeBytes
}

// recordedSize is what a definition's metadata says of a disk.
func (c *cluster) recordedSize(h *lab.Host, g *guest, target string, flags ...string) int64 {
	c.Helper()
	doc, err := domainxml.Parse([]byte(c.on(h, append([]string{"virsh", "dumpxml", g.uuid}, flags...)...)))
	c.must(err)
	meta, _ := doc.Metadata()
	for _, d := range meta.Disks {
		if d.Target == target {
			return d.SizeBytes
		}
	}
	return 0
}

// resized is what `volume resize --output json` prints.
type resized struct {
	SizeBytes int64 `json:"size_bytes"`
	GrownHere bool  `json:"grown_here"`
	Guests    []struct {
		Domain  string
		Target  string
		Resized bool
		Stored  bool `json:"stored_definition_changed"`
	}
	Todo []string
}

func (c *cluster) resize(h *lab.Host, volume, size string) (r resized) {
	c.Helper()
	c.must(json.Unmarshal([]byte(c.on(h, "volbridge", "volume", "resize", volume, "--size", size, "--output", "json")), &r))
	return r
}

// A volume grows under a running guest: the guest sees it at once, and where a
// slice limited it, at once or from its next start on.
func TestResizeUnderARunningGuest(t *testing.T) {
	c := up(t, lab.Trixie)
	for _, h := range []*lab.Host{c.a, c.b} {
		// libvirt 9.0 cannot lift a slice from a running guest.
		lifts := h == c.b
		whole, part := "exact/whole-"+h.Name(), "exact/part-"+h.Name()
		for _, v := range []string{whole, part} {
			c.on(h, "volbridge", "volume", "create", v, "--size", "16MiB")
		}
		g, xml := c.volumeGuest("exact", "web-"+h.Name(), lab.BlockDisk("vdb", "/dev/volbridge/"+whole),
			sliced(lab.BlockDisk("vdc", "/dev/volbridge/"+part), "/dev/volbridge/"+part, 12*mib))
		c.define(h, xml)
		c.on(h, "volbridge", "domain", "adopt", g.name)
		c.on(h, "virsh", "start", g.name)
		c.ticks(g)

		for range 2 { // again is harmless
			r := c.resize(h, whole, "24MiB")
			if r.SizeBytes != 24*mib || !r.GrownHere || len(r.Todo) > 0 || len(r.Guests) != 1 || r.Guests[0].Target != "vdb" || !r.Guests[0].Resized {
				t.Errorf("%s: resize %s: %+v", h.Name(), whole, r)
			}
		}
		r := c.resize(h, part, "24MiB")
		if len(r.Guests) != 1 || r.Guests[0].Resized != lifts || !r.Guests[0].Stored || (len(r.Todo) == 0) != lifts {
			t.Errorf("%s: resize %s: %+v", h.Name(), part, r)
		}
		want := map[bool]int64{true: 24 * mib, false: 12 * mib}[lifts]
		for target, size := range map[string]int64{"vdb": 24 * mib, "vdc": want} {
			if got := c.capacity(h, g, target); got != size {
				t.Errorf("%s: the guest sees %d bytes of %s, want %d", h.Name(), got, target, size)
			}
			if got := c.recordedSize(h, g, target); got != size {
				t.Errorf("%s: the running definition records %d bytes of %s, want %d", h.Name(), got, target, size)
			}
			if got := c.recordedSize(h, g, target, "--inactive"); got != 24*mib {
				t.Errorf("%s: the stored definition records %d bytes of %s", h.Name(), got, target)
			}
			if d := c.disk(h, g, target, "--inactive"); d.SliceBytes != 0 {
				t.Errorf("%s: the stored definition limits %s to %d bytes", h.Name(), target, d.SliceBytes)
			}
		}
		c.ticks(g)
		c.on(h, "virsh", "destroy", g.name)

		// Off, the definition alone changes; the next start sees all of it.
		if r := c.resize(h, whole, "32MiB"); r.GrownHere || len(r.Guests) != 1 || r.Guests[0].Resized || !r.Guests[0].Stored || len(r.Todo) > 0 {
			t.Errorf("%s: resize %s of a guest that is off: %+v", h.Name(), whole, r)
		}
		c.on(h, "virsh", "start", g.name)
		c.ticks(g)
		for target, size := range map[string]int64{"vdb": 32 * mib, "vdc": 24 * mib} {
			if got := c.capacity(h, g, target); got != size {
				t.Errorf("%s: after a start the guest sees %d bytes of %s, want %d", h.Name(), got, target, size)
			}
		}
		c.stopAndCheck(g, h, g.boot, "raw", 20*mib)
	}
	// A host that does not run the guest says who has to do the rest.
	g, xml := c.volumeGuest("exact", "far")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	if r := c.resize(c.b, "exact/far", "24MiB"); len(r.Todo) != 1 || !strings.Contains(r.Todo[0], "kvm01") {
		t.Errorf("resize from another host: %+v", r)
	}
	if r := c.resize(c.a, "exact/far", "24MiB"); len(r.Todo) > 0 || !r.Guests[0].Resized {
		t.Errorf("and then where it runs: %+v", r)
	}
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/far", "exact/part-kvm01", "exact/part-kvm02", "exact/web-kvm01", "exact/web-kvm02", "exact/whole-kvm01", "exact/whole-kvm02")
}
