package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/lab"
)

// disk reads one disk of a domain's running or stored definition.
func (c *cluster) disk(h *lab.Host, g *guest, target string, flags ...string) domainxml.Disk {
	c.Helper()
	doc, err := domainxml.Parse([]byte(c.on(h, append([]string{"virsh", "dumpxml", g.uuid}, flags...)...)))
	c.must(err)
	d, ok := doc.Disk(target)
	if !ok {
		c.Fatalf("guest %s on %s has no disk %s", g.name, h.Name(), target)
	}
	return d
}

// onVolume fails unless the disk is a raw block disk on the volume, with the
// size that the guest has always had.
func (c *cluster) onVolume(d domainxml.Disk, pool, volume string, sliceBytes int64) {
	c.Helper()
	if d.Kind != "block" || d.Format != "raw" || d.Source != device(pool, volume) || d.SliceBytes != sliceBytes {
		c.Errorf("disk %s is %s %s on %s with a slice of %d bytes, want a raw block disk on %s with %d",
			d.Target, d.Kind, d.Format, d.Source, d.SliceBytes, device(pool, volume), sliceBytes)
	}
}

// A guest on a qcow2 file goes to a raw volume that is larger than its disk.
func TestFileToLargerVolume(t *testing.T) {
	for name, release := range map[string]string{"Debian 12 to 12": "", "Debian 12 to 13": lab.Trixie} {
		t.Run(name, func(t *testing.T) {
			c := up(t, release)
			g, xml := c.fileGuest(c.a, "web1")
			c.define(c.a, xml)
			c.on(c.a, "virsh", "start", g.name)
			c.ticks(g)

			c.wants(c.on(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "fast", "--dry-run"), "vda", "copy", "fast/web1-vda")
			c.volumesAre()
			c.on(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "fast")
			c.runsOnlyOn(g, c.b)
			c.volumesAre("fast/web1-vda")
			st, err := os.Stat(c.raw("fast", "web1-vda"))
			c.must(err)
			if st.Size() != 3*granularity {
				t.Errorf("the volume has %d bytes, want %d", st.Size(), 3*granularity)
			}
			c.onVolume(c.disk(c.b, g, "vda"), "fast", "web1-vda", guestBytes)
			c.onVolume(c.disk(c.b, g, "vda", "--inactive"), "fast", "web1-vda", guestBytes)
			if d := c.disk(c.a, g, "vda", "--inactive"); d.Kind != "file" {
				t.Errorf("the source's stored definition changed: %+v", d)
			}
			c.stopAndCheck(g, c.b, c.raw("fast", "web1-vda"), "raw", guestBytes)
			c.nothingLeft("fast/web1-vda")
		})
	}
}

// Afterwards plain virsh moves the guest: shared, without a word of volbridge.
func TestPlainVirsh(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.on(c.a, "virsh", "migrate", "--live", "--persistent", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	if len(c.loops()) != 1 {
		t.Errorf("one host should have the device, but: %v", c.loops())
	}
	c.on(c.b, "virsh", "migrate", "--live", g.name, c.a.URI())
	c.runsOnlyOn(g, c.a)
	c.on(c.a, "virsh", "migrate", "--live", "--p2p", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	c.on(c.b, "virsh", "managedsave", g.name)
	c.nothingLeft("exact/web1")
	c.on(c.b, "virsh", "start", g.name)
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// One disk is copied, one stays on the volume that both hosts reach, and a
// CD-ROM is left alone. The source is undefined only when that is asked for.
func TestCopySharedAndLeave(t *testing.T) {
	c := up(t, "")
	c.on(c.a, "volbridge", "volume", "create", "exact/data", "--size", "8MiB")
	iso := filepath.Join(c.lab.SharedDir(), "cd.iso")
	c.must(os.WriteFile(iso, make([]byte, mib), 0o644))
	g, xml := c.fileGuest(c.a, "web1", lab.BlockDisk("vdb", device("exact", "data")),
		`<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='`+iso+`'/><target dev='hdc' bus='ide'/><readonly/></disk>`)
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)

	c.wants(c.refused(c.a, "volbridge", "migrate", g.name, c.b.URI()), "vda", "--to-pool")
	out := c.on(c.a, "volbridge", "--output", "json", "migrate", g.name, c.b.URI(), "--disk", "vda=exact/boot", "--undefine-source", "--remove-source")
	var result struct {
		Plan struct {
			Disks []struct{ Target, Action string }
		}
	}
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &result); err != nil {
		t.Errorf("%v in %s", err, out)
	}
	want := map[string]string{"vda": "copy", "vdb": "shared", "hdc": "leave"}
	for _, d := range result.Plan.Disks {
		if want[d.Target] != d.Action {
			t.Errorf("disk %s: %s, want %s", d.Target, d.Action, want[d.Target])
		}
	}
	c.runsOnlyOn(g, c.b)
	c.onVolume(c.disk(c.b, g, "vda"), "exact", "boot", guestBytes)
	c.onVolume(c.disk(c.b, g, "vdb"), "exact", "data", 0)
	if d := c.disk(c.b, g, "hdc"); d.Source != iso || d.Kind != "file" {
		t.Errorf("the CD-ROM changed: %+v", d)
	}
	if strings.Contains(c.on(c.a, "virsh", "list", "--all", "--uuid"), g.uuid) {
		t.Error("the source still has the definition")
	}
	if _, err := os.Stat(g.boot); !os.IsNotExist(err) {
		t.Errorf("the source's image was to be removed: %v", err)
	}
	c.stopAndCheck(g, c.b, c.raw("exact", "boot"), "raw", guestBytes)
	c.nothingLeft("exact/boot", "exact/data")
}

// A transient domain moves, and no definition is stored anywhere.
func TestTransientDomain(t *testing.T) {
	c := up(t, "")
	g, xml := c.fileGuest(c.a, "web1")
	c.create(c.a, xml)
	c.ticks(g)
	c.on(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "exact")
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, c.raw("exact", "web1-vda"), "raw", guestBytes)
	for _, h := range c.lab.Hosts() {
		if strings.Contains(c.on(h, "virsh", "list", "--all", "--uuid"), g.uuid) {
			t.Errorf("%s has a stored definition of a transient domain", h.Name())
		}
	}
	c.nothingLeft("exact/web1-vda")
}

// Everything that speaks against a migration is said before anything is made.
func TestRefusedBeforeAnythingIsMade(t *testing.T) {
	c := up(t, "")
	g, xml := c.fileGuest(c.a, "web1")
	c.define(c.a, xml)
	migrate := []string{"volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "fast"}
	c.wants(c.refused(c.a, migrate...), "shut off", "virsh start web1")
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.wants(c.refused(c.a, "volbridge", "migrate", g.name, c.a.URI(), "--to-pool", "fast"), "same host")
	c.wants(c.refused(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "none"), "none")
	c.wants(c.refused(c.a, "volbridge", "migrate", "nobody", c.b.URI()), "nobody")

	c.on(c.a, "virsh", "snapshot-create-as", g.name, "s1")
	c.wants(c.refused(c.a, migrate...), "snapshot")
	c.on(c.a, "virsh", "snapshot-delete", g.name, "s1")

	c.must(os.Rename(c.lab.SharedDir()+"/fast", c.lab.SharedDir()+"/gone"))
	c.refused(c.a, migrate...)
	c.must(os.Rename(c.lab.SharedDir()+"/gone", c.lab.SharedDir()+"/fast"))

	// The destination does not know the pool: its own volbridge says so.
	c.must(c.b.WriteFile("/etc/volbridge/volbridge.toml", []byte("[pool.other]\ntype = \"dir\"\npath = \"/srv\"\n"), 0o600))
	c.wants(c.refused(c.a, migrate...), "kvm02", "fast")
	c.volumesAre()

	// Without volbridge there, that is what is said.
	c.on(c.b, "rm", "/etc/libvirt/hooks/qemu.d/50-volbridge")
	c.wants(c.refused(c.a, migrate...), "kvm02", "install volbridge")
	c.runsOnlyOn(g, c.a)
	c.on(c.a, "virsh", "destroy", g.name)
	c.volumesAre()
}
