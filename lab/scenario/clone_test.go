package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/nvmesim"
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

const (
	machine1 = "4c4c4544-0042-3510-8054-b7c04f333532"
	machine2 = "03560274-043c-0577-6c06-250700080009"
)

// onMachine gives a host the product UUID of its firmware, until it is booted.
func (c *cluster) onMachine(h *lab.Host, productUUID string) {
	c.Helper()
	c.must(h.WriteFile(nvmesim.SysRoot+"/class/dmi/id/product_uuid", []byte(productUUID+"\n"), 0o400))
}

// A backup of a host, records and all, is booted on another machine while the host
// runs: its records say that the grant of the boot in which it was made is its own.
// They count there only when somebody says that the host is off for good.
func TestCopyOfAHostWithItsRecords(t *testing.T) {
	c := upWithArrays(t, arrayOptions{})
	c.onMachine(c.a, machine1)
	c.onMachine(c.b, machine2)
	for _, h := range c.lab.Hosts() {
		c.as(h, "kvm01", "the-same-id")
	}
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	for _, file := range c.glob(c.a.Path("/var/lib/volbridge"), "*") {
		data, err := os.ReadFile(file)
		c.must(err)
		c.must(c.b.WriteFile("/var/lib/volbridge/"+filepath.Base(file), data, 0o600))
	}
	takeOver := "volbridge recover --replaces " + machine1
	c.wants(c.refused(c.b, "virsh", "start", g.name), "written by another machine", machine1, machine2, takeOver)
	c.wants(c.refused(c.b, "volbridge", "recover"), takeOver)
	if out, code := c.exit(c.b, "volbridge", "doctor", "--only", "state"); code == 0 {
		t.Errorf("the doctor found nothing:\n%s", out)
	} else {
		c.wants(out, takeOver)
	}
	c.runsOnlyOn(g, c.a)
	if fs := c.recover(c.a); len(fs) != 1 || fs[0].Outcome != "kept" {
		t.Errorf("recover on the host itself: %+v", fs)
	}

	// The machine burns down, and the copy has its place.
	c.must(c.a.Crash(c.ctx))
	c.on(c.b, "volbridge", "recover", "--replaces", machine1)
	c.on(c.b, "virsh", "start", g.name)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.must(c.a.Boot(c.ctx))
	c.recover(c.a)
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
