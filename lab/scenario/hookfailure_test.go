package scenario

import (
	"strings"
	"testing"
)

// Our own hook refuses on the destination of a plain virsh migration: at
// `migrate` because the pool is not configured there, at `prepare` because the
// configuration has been broken since. The guest runs on, and what the first
// call made is returned once the configuration can be read again.
func TestOurHookFailsOnTheDestination(t *testing.T) {
	const config = "/etc/volbridge/volbridge.toml"
	t.Run("migrate", func(t *testing.T) {
		c := up(t, "")
		g, xml := c.volumeGuest("exact", "web1")
		c.define(c.a, xml)
		c.on(c.a, "virsh", "start", g.name)
		c.ticks(g)
		good := pools(c.lab.SharedDir())
		c.must(c.b.WriteFile(config, []byte("[pool.other]\ntype = \"dir\"\npath = \"/srv\"\n"), 0o600))
		c.wants(c.refused(c.a, "virsh", "migrate", "--live", g.name, c.b.URI()), "kvm02", "exact", "vda")
		c.must(c.b.WriteFile(config, []byte(good), 0o600))
		c.runsOnlyOn(g, c.a)
		c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
		c.nothingLeft("exact/web1")
	})
	t.Run("prepare", func(t *testing.T) {
		c := up(t, "")
		g, xml := c.volumeGuest("exact", "web1")
		c.define(c.a, xml)
		c.on(c.a, "virsh", "start", g.name)
		c.ticks(g)
		good := pools(c.lab.SharedDir())
		breaker := "#!/bin/sh\ncat >/dev/null\n[ \"$2\" != prepare ] || echo 'broken [' >" + config + "\n"
		c.must(c.b.WriteFile("/etc/libvirt/hooks/qemu.d/20-breaker", []byte(breaker), 0o755))
		c.wants(c.refused(c.a, "virsh", "migrate", "--live", g.name, c.b.URI()), "kvm02", "volbridge.toml")
		c.on(c.b, "rm", "/etc/libvirt/hooks/qemu.d/20-breaker")
		c.must(c.b.WriteFile(config, []byte(good), 0o600))
		c.runsOnlyOn(g, c.a)
		c.recover(c.b, "--pending-older-than", "0s")
		c.on(c.a, "virsh", "migrate", "--live", g.name, c.b.URI())
		c.runsOnlyOn(g, c.b)
		c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
		c.nothingLeft("exact/web1")
	})
}

// The disk under the state file is full: a start is refused, because what
// cannot be recorded cannot be undone, and a stop leaves what it could not
// record for recover. With space everything works again.
func TestFullDiskUnderTheStateFile(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	const dir = "/var/lib/volbridge"
	c.on(c.a, "mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "none", dir)
	fill := func() { c.on(c.a, "sh", "-c", "head -c 1m /dev/zero >"+dir+"/fill 2>/dev/null; true") }
	fill()
	c.wants(c.refused(c.a, "virsh", "start", g.name), "kvm01", dir)
	c.volumesAre("exact/web1")
	if loops := c.loops(); len(loops) > 0 {
		t.Errorf("attached without a record: %v", loops)
	}
	c.on(c.a, "rm", dir+"/fill")
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	fill()
	c.on(c.a, "virsh", "destroy", g.name)
	c.on(c.a, "rm", dir+"/fill")
	for _, f := range c.recover(c.a) {
		if f.Outcome == "left" {
			t.Errorf("recover: %+v", f)
		}
	}
	c.nothingLeft("exact/web1")
}

// A pool folder that is read-only or gone on this host: the start is refused
// with the pool's own words, and works once it is back.
func TestPoolFolderReadOnlyOrGone(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	pool := c.lab.SharedDir() + "/exact"
	c.on(c.a, "mount", "--bind", pool, pool)
	c.on(c.a, "mount", "-o", "remount,bind,ro", pool)
	c.wants(c.refused(c.a, "virsh", "start", g.name), "exact/web1", "read-write")
	c.on(c.a, "umount", pool)
	c.on(c.a, "mount", "-t", "tmpfs", "none", pool) // as if the share were not mounted
	c.wants(c.refused(c.a, "virsh", "start", g.name), "exact", "mount the file system")
	c.on(c.a, "umount", pool)
	c.on(c.a, "virsh", "start", g.name)
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// Domain names as a person may choose them go through plan, names and hook.
func TestOddDomainName(t *testing.T) {
	c := up(t, "")
	g, xml := c.fileGuest(c.a, "web1")
	const odd = "web 1 'ä'"
	c.define(c.a, strings.Replace(xml, "<name>web1<", "<name>"+odd+"<", 1))
	c.on(c.a, "virsh", "start", g.uuid)
	c.ticks(g)
	c.wants(c.refused(c.a, "volbridge", "migrate", odd, c.b.URI(), "--to-pool", "exact"), "--disk vda=exact/VOLUME")
	c.on(c.a, "volbridge", "migrate", odd, c.b.URI(), "--disk", "vda=exact/boot")
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, c.raw("exact", "boot"), "raw", guestBytes)
	c.nothingLeft("exact/boot")
}
