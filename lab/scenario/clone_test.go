package scenario

import (
	"fmt"
	"testing"

	"github.com/volbridge/volbridge/lab"
)

// as gives a host a name and an id by its configuration.
func (c *cluster) as(h *lab.Host, name, id string) {
	c.Helper()
	text := fmt.Sprintf("host_name = %q\nhost_id = %q\n%s", name, id, pools(c.lab.SharedDir()))
	c.must(h.WriteFile("/etc/volbridge/volbridge.toml", []byte(text), 0o600))
}

// Two hosts with the same name and the same id, as cloned machines have them,
// do not take each other for themselves.
func TestClonedHosts(t *testing.T) {
	c := up(t, "")
	for _, h := range c.lab.Hosts() {
		c.as(h, "kvm01", "the-same-id")
	}
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.wants(c.refused(c.b, "virsh", "start", g.name), "exact/web1", "kvm01", "clone", "another boot")
	c.wants(c.refused(c.a, "virsh", "migrate", "--live", g.name, c.b.URI()), "clone")
	c.runsOnlyOn(g, c.a)

	// The clone cannot say whose the grant is, and takes nothing back.
	if fs := c.recover(c.b); len(fs) != 1 || fs[0].Kind != "grant" || fs[0].Outcome != "left" {
		t.Errorf("recover on the clone: %+v", fs)
	} else {
		c.wants(fs[0].Action, "volbridge volume revoke exact/web1 --host kvm01")
	}
	c.wants(c.refused(c.a, "volbridge", "volume", "revoke", "exact/web1", "--host", "kvm01", "--yes"), "volbridge recover")
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// The name of a host changes while its guest runs.
func TestRenamedHost(t *testing.T) {
	c := up(t, "")
	c.as(c.a, "kvm01", "id-of-kvm01")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.as(c.a, "renamed", "id-of-kvm01")
	c.wants(c.refused(c.b, "virsh", "start", g.name), "kvm01")
	if fs := c.recover(c.a); len(fs) != 1 || fs[0].Outcome != "kept" {
		t.Errorf("recover after the renaming: %+v", fs)
	}
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
	c.on(c.b, "virsh", "start", g.name)
	c.on(c.b, "virsh", "destroy", g.name)
	c.nothingLeft("exact/web1")
}

// A host dies for good: what it holds is taken from it by hand.
func TestRevokeFromADeadHost(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.must(c.a.Crash(c.ctx))
	c.wants(c.refused(c.b, "virsh", "start", g.name), "kvm01", "volbridge volume revoke exact/web1")
	c.on(c.b, "volbridge", "volume", "revoke", "exact/web1", "--host", "kvm01", "--yes")
	c.on(c.b, "virsh", "start", g.name)
	c.on(c.b, "virsh", "destroy", g.name)
	c.must(c.a.Boot(c.ctx))
	c.recover(c.a)
	c.nothingLeft("exact/web1")
}
