package scenario

import (
	"fmt"
	"slices"
	"testing"

	"github.com/volbridge/volbridge/lab/flasharray"
)

// A guest on a volume of an array starts with plain virsh, and afterwards
// neither the host nor the array has anything of it.
func TestArrayVolume(t *testing.T) {
	for name, version := range map[string]string{"nsid": "2.36", "without-nsid": "2.26"} {
		t.Run(name, func(t *testing.T) {
			o := arrayOptions{}
			o.first.Version = version
			c := upWithArrays(t, o)
			g, xml := c.volume("web1")
			c.define(c.a, xml)
			c.on(c.a, "virsh", "start", g.name)
			c.ticks(g)
			c.seenBy(c.flash, "web1", c.a)
			c.define(c.b, xml)
			c.wants(c.refused(c.b, "virsh", "start", g.name), "flash/web1", "kvm01", "web1")
			c.seenBy(c.flash, "web1", c.a)
			c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
			c.clean()
			c.on(c.a, "volbridge", "volume", "delete", "--yes", "flash/web1")
			if left := c.flash.Volumes(); len(left) > 0 {
				c.Errorf("left on the array: %v", left)
			}
		})
	}
}

// Plain virsh moves a guest to and fro; only the host where it runs reaches its
// volume. With silent arrays, which send no event when something changes, too.
func TestArrayPlainMigration(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent=%v", silent), func(t *testing.T) {
			c := upWithArrays(t, arrayOptions{})
			c.flash.Target.SetSilent(silent)
			g, xml := c.volume("web1")
			c.define(c.a, xml)
			c.on(c.a, "virsh", "start", g.name)
			c.ticks(g)
			c.on(c.a, "virsh", "migrate", "--live", "--persistent", g.name, c.b.URI())
			c.runsOnlyOn(g, c.b)
			c.seenBy(c.flash, "web1", c.b)
			c.on(c.b, "virsh", "migrate", "--live", g.name, c.a.URI())
			c.runsOnlyOn(g, c.a)
			c.seenBy(c.flash, "web1", c.a)
			c.on(c.a, "virsh", "managedsave", g.name)
			c.clean()
			c.on(c.a, "virsh", "start", g.name)
			c.runsOnlyOn(g, c.a)
			c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
			c.clean()
		})
	}
}

// One command moves a running guest from a file onto an array, and from there
// onto another array.
func TestFileOntoArrayOntoArray(t *testing.T) {
	c := upWithArrays(t, arrayOptions{second: true})
	g, xml := c.fileGuest(c.a, "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.on(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "flash")
	c.runsOnlyOn(g, c.b)
	c.seenBy(c.flash, "web1-vda", c.b)
	c.on(c.b, "volbridge", "migrate", g.name, c.a.URI(), "--to-pool", "tank")
	c.runsOnlyOn(g, c.a)
	c.seenBy(c.tank, "web1-vda", c.a)
	c.seenBy(c.flash, "web1-vda")
	v, _ := c.tank.Volume("web1-vda")
	if d := c.disk(c.a, g, "vda"); d.Source != devicePath(v) {
		t.Errorf("the disk is %s, want %s", d.Source, devicePath(v))
	}
	c.stopAndCheck(g, c.a, v.File, "raw", guestBytes)
	c.clean()
}

// The target has put another volume behind the namespace. That device is handed
// to nobody, neither at a start nor on the way of a migration, and nothing is
// written to it.
func TestSwappedNamespaceIsRefused(t *testing.T) {
	c := upWithArrays(t, arrayOptions{})
	g, xml := c.volume("web1")
	_, _ = c.volume("other")
	c.define(c.a, xml)
	victim, _ := c.flash.Volume("other")
	wanted, _ := c.flash.Volume("web1")
	swapped := flasharray.Namespace{Serial: victim.Serial, NGUID: flasharray.NGUID(victim.Serial), SizeBytes: victim.SizeBytes}
	before := c.sum(victim.File)

	c.must(c.flash.Target.Swap(flasharray.NGUID(wanted.Serial), swapped))
	c.wants(c.refused(c.a, "virsh", "start", g.name), "flash/web1", swapped.NGUID, flasharray.NGUID(wanted.Serial))
	c.must(c.flash.Target.Swap(flasharray.NGUID(wanted.Serial), flasharray.Namespace{}))
	c.clean()

	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.must(c.flash.Target.Swap(flasharray.NGUID(wanted.Serial), swapped))
	c.wants(c.refused(c.a, "virsh", "migrate", "--live", g.name, c.b.URI()), "flash/web1", swapped.NGUID)
	c.runsOnlyOn(g, c.a)
	c.wants(c.refused(c.a, "volbridge", "migrate", g.name, c.b.URI()), "flash/web1", swapped.NGUID)
	c.runsOnlyOn(g, c.a)
	c.must(c.flash.Target.Swap(flasharray.NGUID(wanted.Serial), flasharray.Namespace{}))
	c.seenBy(c.flash, "web1", c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.clean()
	if after := c.sum(victim.File); after != before {
		t.Error("the other volume was written")
	}
}

// A host whose kernel still takes an NSID for a volume that the array has moved
// elsewhere gets the right device nevertheless.
func TestReusedNSID(t *testing.T) {
	c := upWithArrays(t, arrayOptions{})
	g, xml := c.volume("web1")
	_, _ = c.volume("other")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name) // so that the host is connected to the array
	c.on(c.a, "virsh", "destroy", g.name)
	c.must(c.flash.Connect("kvm01", "web1"))
	c.flash.Target.SetSilent(true)
	c.must(c.flash.Disconnect("kvm01", "web1"))
	c.must(c.flash.Connect("kvm01", "other"))
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	if want := []string{"other kvm01"}; !slices.Equal(c.flash.Connections(), want) {
		t.Errorf("connections %v, want %v: only what the administrator made", c.flash.Connections(), want)
	}
}

// The array's management is down: what runs runs on, what the host has already
// starts again, what it does not have is refused; and what could not be
// returned is returned by recover.
func TestArrayManagementDown(t *testing.T) {
	c := upWithArrays(t, arrayOptions{})
	g, xml := c.volume("web1")
	other, otherXML := c.volume("web2")
	c.define(c.a, xml)
	c.define(c.a, otherXML)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.flash.FailFrom(1, flasharray.Fault{Kind: flasharray.LostBefore})
	c.ticks(g)
	c.wants(c.refused(c.a, "virsh", "start", other.name), "flash", c.flash.Address)
	c.on(c.a, "virsh", "destroy", g.name)
	if len(c.findings(c.a)) == 0 {
		t.Error("the connection could not be returned, and recover knows nothing of it")
	}
	c.on(c.a, "virsh", "start", g.name)
	c.runsOnlyOn(g, c.a)
	c.on(c.a, "virsh", "destroy", g.name)
	c.flash.ClearFaults()
	c.recover(c.a)
	c.seenBy(c.flash, "web1")
	c.clean()
	c.on(c.a, "virsh", "start", g.name)
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.clean()
}

// One of two portals is lost while a guest moves.
func TestPortalCut(t *testing.T) {
	o := arrayOptions{}
	o.first.Portals = []string{"10.77.0.1", "10.77.0.3"}
	c := upWithArrays(t, o)
	g, xml := c.volume("web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	if n := len(c.flash.Target.Controllers()); n != 2 {
		t.Errorf("controllers: %v", c.flash.Target.Controllers())
	}
	c.must(c.flash.Target.Cut(c.flash.Portals[0]))
	c.on(c.a, "virsh", "migrate", "--live", "--persistent", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	c.must(c.flash.Target.Listen(c.ctx, c.lab.PID(), c.flash.Portals[0]))
	c.on(c.b, "virsh", "migrate", "--live", g.name, c.a.URI())
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.clean()
}

// A host dies with its guest. Once it is up again it may start it, and nothing
// of its last boot stays on the array.
func TestArrayHostCrashes(t *testing.T) {
	c := upWithArrays(t, arrayOptions{})
	g, xml := c.volume("web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.must(c.a.Crash(c.ctx))
	c.wants(c.refused(c.b, "virsh", "start", g.name), "kvm01")
	c.must(c.a.Boot(c.ctx))
	c.on(c.a, "virsh", "start", g.name)
	c.runsOnlyOn(g, c.a)
	c.on(c.a, "virsh", "destroy", g.name)
	c.clean()
}

// In a pool with a host group every host has every device; who may use it is
// kept on the array.
func TestHostGroup(t *testing.T) {
	c := upWithArrays(t, arrayOptions{group: "kvm", lines: []string{`hostgroup = "kvm"`}})
	g, xml := c.volume("web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.wants(c.refused(c.b, "virsh", "start", g.name), "flash/web1", "kvm01")
	c.on(c.a, "virsh", "migrate", "--live", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	c.wants(c.refused(c.a, "virsh", "start", g.name), "flash/web1", "kvm02")
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	if want := []string{"web1 @kvm"}; !slices.Equal(c.flash.Connections(), want) {
		t.Errorf("connections %v, want %v", c.flash.Connections(), want)
	}
	c.on(c.a, "volbridge", "volume", "delete", "--yes", "flash/web1")
	c.clean()
}
