package scenario

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/clusters"
	"github.com/volbridge/volbridge/lab/drbdsim"
)

// linstorCluster is a cluster with an array (pool flash), and whose hosts are
// nodes of a LINSTOR cluster: pool drbd.
type linstorCluster struct {
	*arrayCluster
	drbd *clusters.Running
}

// upWithLINSTOR starts two hosts; storage says on which nodes volumes are.
func upWithLINSTOR(t *testing.T, storage ...string) *linstorCluster {
	t.Helper()
	c := &linstorCluster{arrayCluster: upWithArrays(t, arrayOptions{})}
	var err error
	c.drbd, err = clusters.Start(c.ctx, c.lab, clusters.Options{Storage: storage})
	c.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, call := range c.drbd.Calls() {
				t.Log(call)
			}
		}
		if err := c.drbd.Close(); err != nil {
			t.Error(err)
		}
	})
	const config = "/etc/volbridge/volbridge.toml"
	for _, h := range c.lab.Hosts() {
		have, err := os.ReadFile(h.Path(config))
		c.must(err)
		c.must(h.WriteFile(config, append(have, c.drbd.PoolConfig("drbd")...), 0o600))
	}
	return c
}

// volume makes a guest whose boot disk is a volume of pool drbd.
func (c *linstorCluster) volume(name string) (*guest, string) {
	c.Helper()
	c.on(c.a, "volbridge", "volume", "create", "drbd/"+name, "--size", "20MiB")
	file := c.drbd.File(name)
	c.must(lab.WriteTickImage(c.ctx, file, "raw", 20*mib, int64(len(name))))
	sum, err := lab.HashUntouched(c.ctx, file, "raw", 20*mib)
	c.must(err)
	g := &guest{name: name, uuid: newUUID(), boot: file, format: "raw", sum: sum}
	return g, c.xml(g, lab.BlockDisk("vda", clusters.Device(name)))
}

// writtenBy fails unless this host alone can write the volume, as the tools of
// DRBD say and as its kernel does it, and unless two primaries are forbidden at
// both levels. That of no host, nil, is only what the rest is.
func (c *linstorCluster) writtenBy(volume string, want *lab.Host) {
	c.Helper()
	d, there := c.drbd.Definition(volume)
	if !there {
		c.Fatalf("the controller has no volume %s", volume)
	}
	if len(d.Set) > 0 || len(d.TwoPrimaries) > 0 {
		c.Errorf("volume %s: two primaries are set at %v and allowed between %v", volume, d.Set, d.TwoPrimaries)
	}
	s, err := c.drbd.State()
	c.must(err)
	for name, r := range s.Resources[volume].Hosts {
		if r.Two {
			c.Errorf("volume %s on %s: the kernel allows two primaries", volume, name)
		}
	}
	if want == nil {
		return
	}
	for _, h := range c.lab.Hosts() {
		r := s.Resources[volume].Hosts[h.Name()]
		if is := r != nil && r.Role == drbdsim.Primary; is != (h == want) {
			c.Errorf("volume %s: %s is primary: %v", volume, h.Name(), is)
		}
		if r == nil {
			continue
		}
		readOnly := strings.TrimSpace(c.on(h, "blockdev", "--getro", clusters.Device(volume))) == "1"
		if readOnly != (h != want) {
			c.Errorf("volume %s: its device on %s is read-only: %v", volume, h.Name(), readOnly)
		}
	}
}

// onNodes fails unless the volume is on exactly these nodes.
func (c *linstorCluster) onNodes(volume string, want ...string) {
	c.Helper()
	d, _ := c.drbd.Definition(volume)
	if !slices.Equal(d.Resources, want) {
		c.Errorf("volume %s is on %q, want %q", volume, d.Resources, want)
	}
	for _, h := range c.lab.Hosts() {
		_, err := os.Lstat(h.Path(clusters.Device(volume)))
		on := slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(w, h.Name()) })
		if has := err == nil; has != on {
			c.Errorf("%s: has the device of %s: %v", h.Name(), volume, has)
		}
	}
}

// unheld fails if the volume has a holder.
func (c *linstorCluster) unheld(volume string) {
	c.Helper()
	d, _ := c.drbd.Definition(volume)
	for key := range d.Props {
		if strings.HasPrefix(key, "Aux/volbridge/h.") || strings.HasPrefix(key, "Aux/volbridge/two.") {
			c.Errorf("volume %s: left: %s", volume, key)
		}
	}
}

// gone deletes volumes and fails if anything is left of them.
func (c *linstorCluster) gone(volumes ...string) {
	c.Helper()
	for _, v := range volumes {
		c.unheld(v)
		c.on(c.a, "volbridge", "volume", "delete", "--yes", "drbd/"+v)
	}
	if left := c.drbd.Definitions(); len(left) > 0 {
		c.Errorf("volumes left: %+v", left)
	}
	c.clean()
	for _, h := range c.lab.Hosts() {
		for _, pattern := range []string{"drbd[0-9]*", "drbd/by-res/*"} {
			if left := c.glob(h.Path("/dev"), pattern); len(left) > 0 {
				c.Errorf("%s: left: %v", h.Name(), left)
			}
		}
	}
}

// A guest on a volume starts and moves with plain virsh, and at each moment one
// host can write; wherever the replicas are.
func TestLINSTORVolume(t *testing.T) {
	for name, layout := range map[string]struct {
		storage []string
		// onA and onB are where the volume is while the guest runs there, idle
		// while it runs nowhere.
		onA, onB, idle []string
	}{
		"both diskful":  {[]string{"kvm01", "kvm02"}, []string{"kvm01", "kvm02"}, []string{"kvm01", "kvm02"}, []string{"kvm01", "kvm02"}},
		"one diskless":  {[]string{"kvm01"}, []string{"kvm01"}, []string{"kvm01", "kvm02 diskless"}, []string{"kvm01"}},
		"both diskless": {[]string{"store1"}, []string{"kvm01 diskless", "store1"}, []string{"kvm02 diskless", "store1"}, []string{"store1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := upWithLINSTOR(t, layout.storage...)
			g, xml := c.volume("web1")
			c.onNodes("web1", layout.idle...)
			c.define(c.a, xml)
			c.define(c.b, xml)
			c.on(c.a, "virsh", "start", g.name)
			c.ticks(g)
			c.writtenBy("web1", c.a)
			c.onNodes("web1", layout.onA...)
			c.wants(c.refused(c.b, "virsh", "start", g.name), "drbd/web1", "kvm01")
			c.runsOnlyOn(g, c.a)
			c.writtenBy("web1", c.a)

			c.on(c.a, "virsh", "migrate", "--live", g.name, c.b.URI())
			c.runsOnlyOn(g, c.b)
			c.writtenBy("web1", c.b)
			c.onNodes("web1", layout.onB...)
			c.wants(c.refused(c.a, "virsh", "start", g.name), "drbd/web1", "kvm02")
			c.on(c.b, "virsh", "migrate", "--live", g.name, c.a.URI())
			c.runsOnlyOn(g, c.a)
			c.writtenBy("web1", c.a)
			c.onNodes("web1", layout.onA...)

			c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
			c.writtenBy("web1", nil)
			c.onNodes("web1", layout.idle...)
			c.gone("web1")
		})
	}
}

// Without volbridge's hook on the destination nobody allows two primaries, and
// QEMU there may not write: the migration fails and the guest runs on.
func TestLINSTORWithoutTheHook(t *testing.T) {
	c := upWithLINSTOR(t, "kvm01", "kvm02")
	g, xml := c.volume("web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	const hook = "/etc/libvirt/hooks/qemu.d/50-volbridge"
	ours, err := os.ReadFile(c.b.Path(hook))
	c.must(err)
	c.must(c.b.WriteFile(hook+".new", []byte("#!/bin/sh\ncat >/dev/null\n"), 0o755))
	c.on(c.b, "mv", hook+".new", hook)
	for _, args := range [][]string{{"migrate", "--live", g.name, c.b.URI()}, {"--connect", c.b.URI(), "start", g.name}} {
		c.wants(c.refused(c.a, append([]string{"virsh"}, args...)...), "The device is not writable")
		c.runsOnlyOn(g, c.a)
		c.writtenBy("web1", c.a)
	}
	c.must(c.b.WriteFile(hook+".new", ours, 0o755))
	c.on(c.b, "mv", hook+".new", hook)
	c.on(c.a, "virsh", "migrate", "--live", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	c.writtenBy("web1", c.b)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.gone("web1")
}

// One command moves a running guest from a file onto a volume that had to be
// rounded up, from there onto an array, and back.
func TestFileOntoLINSTOROntoArray(t *testing.T) {
	c := upWithLINSTOR(t, "kvm01")
	g, xml := c.fileGuest(c.a, "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)

	c.on(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "drbd")
	c.runsOnlyOn(g, c.b)
	c.onCluster(g, c.b, "web1-vda")

	c.on(c.b, "volbridge", "migrate", g.name, c.a.URI(), "--to-pool", "flash")
	c.runsOnlyOn(g, c.a)
	c.seenBy(c.flash, "web1-vda", c.a)
	c.unheld("web1-vda")
	c.on(c.b, "volbridge", "volume", "delete", "--yes", "drbd/web1-vda")

	c.on(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "drbd")
	c.runsOnlyOn(g, c.b)
	c.seenBy(c.flash, "web1-vda")
	c.onCluster(g, c.b, "web1-vda")
	c.stopAndCheck(g, c.b, c.drbd.File("web1-vda"), "raw", guestBytes)
	c.gone("web1-vda")
}

// onCluster fails unless the guest's disk is a slice of the volume, which its
// host alone writes.
func (c *linstorCluster) onCluster(g *guest, h *lab.Host, volume string) {
	c.Helper()
	c.writtenBy(volume, h)
	st, err := os.Stat(c.drbd.File(volume))
	c.must(err)
	if want := int64(guestBytes + 512); st.Size() != want {
		c.Errorf("volume %s has %d bytes, want %d", volume, st.Size(), want)
	}
	d := c.disk(h, g, "vda")
	if d.Kind != "block" || d.Format != "raw" || d.Source != clusters.Device(volume) || d.SliceBytes != guestBytes {
		c.Errorf("the disk is %+v", d)
	}
}

// libvirt goes no further on the destination after volbridge was told of the guest,
// or has let both hosts write. The guest runs on, and once recover was there one
// host can write.
func TestLINSTORDestinationFails(t *testing.T) {
	for name, storage := range map[string][]string{"one diskless": {"kvm01"}, "both diskless": {"store1"}, "both diskful": {"kvm01", "kvm02"}} {
		t.Run(name, func(t *testing.T) {
			c := upWithLINSTOR(t, storage...)
			g, xml := c.volume("web1")
			c.define(c.a, xml)
			c.on(c.a, "virsh", "start", g.name)
			c.ticks(g)
			c.trip(c.b, "90-after-migrate")
			c.wants(c.refused(c.a, "virsh", "migrate", "--live", g.name, c.b.URI()), "tripped over")
			if d, _ := c.drbd.Definition("web1"); len(d.Set) > 0 || len(d.TwoPrimaries) > 0 {
				t.Errorf("the guest is only announced, and two primaries are set at %v and allowed between %v", d.Set, d.TwoPrimaries)
			}
			c.recover(c.b, "--pending-older-than", "0s")
			c.runsOnlyOn(g, c.a)
			c.writtenBy("web1", c.a)
			if fs := c.findings(c.b); len(fs) > 0 {
				t.Errorf("recover still finds %v", fs)
			}
			c.on(c.b, "rm", filepath.Join("/run", "trip-90-after-migrate"))

			c.trip(c.b, "90-after-prepare")
			c.wants(c.refused(c.a, "virsh", "migrate", "--live", g.name, c.b.URI()), "tripped over")
			c.recover(c.b, "--pending-older-than", "0s")
			c.runsOnlyOn(g, c.a)
			c.writtenBy("web1", c.a)
			c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
			c.gone("web1")
		})
	}
}
