package scenario

import (
	"os"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/lab"
)

// The state file is lost while a guest runs: its release goes by the XML and by
// what the pool knows.
func TestStateFileLostWhileRunning(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.loseState(c.a)
	if fs := c.findings(c.a); len(fs) != 1 || fs[0].Kind != "grant" || fs[0].Outcome != "kept" {
		t.Errorf("recover finds %+v, want the grant kept: the guest runs", fs)
	}
	c.recover(c.a)
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// The state file is lost with the power: the grant in the pool may be of a clone
// of this host, as far as recover can know, and is returned by hand.
func TestStateFileLostWithThePower(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.loseState(c.a)
	c.must(c.a.Crash(c.ctx))
	c.must(c.a.Boot(c.ctx))
	if fs := c.recover(c.a); len(fs) != 1 || fs[0].Kind != "grant" || fs[0].Outcome != "left" {
		t.Errorf("recover: %+v", fs)
	} else {
		c.wants(fs[0].Action, "volbridge volume revoke exact/web1 --host kvm01")
	}
	c.on(c.a, "volbridge", "volume", "revoke", "exact/web1", "--host", "kvm01", "--yes")
	c.nothingLeft("exact/web1")
}

// libvirt does not answer: recover changes nothing, and says why.
func TestRecoverWithoutLibvirt(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.must(c.a.KillDaemon(c.ctx))
	if fs := c.recover(c.a); len(fs) != 1 || fs[0].Outcome != "left" || !strings.Contains(fs[0].Seen, "libvirt") {
		t.Errorf("recover: %+v", fs)
	}
	if out, code := c.exit(c.a, "volbridge", "recover"); code != 6 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	c.ticks(g)
	c.must(c.a.StartDaemon(c.ctx))
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// A guest that was defined by hand is adopted; the metadata survives a
// migration, and names the disk where the path alone would not.
func TestAdopt(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.on(c.a, "volbridge", "domain", "adopt", g.name, "--dry-run")
	if out := c.on(c.a, "virsh", "dumpxml", g.name); strings.Contains(out, "urn:volbridge:domain:1") {
		t.Error("the dry run wrote metadata")
	}
	c.on(c.a, "volbridge", "domain", "adopt", g.name)
	for _, flags := range [][]string{nil, {"--inactive"}} {
		c.wants(c.on(c.a, append([]string{"virsh", "dumpxml", g.name}, flags...)...), "urn:volbridge:domain:1", `volume="web1"`)
	}
	c.on(c.a, "virsh", "migrate", "--live", "--persistent", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	c.wants(c.on(c.b, "volbridge", "domain", "disks", g.name), "vda", "exact/web1", "metadata")
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// A volume grows, and with it its device and the guest's disk; virsh may say the
// same again.
func TestResizeAttached(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.wants(c.on(c.a, "volbridge", "volume", "resize", "exact/web1", "--size", "24MiB"), "running domain web1 has 24MiB")
	c.wants(c.on(c.a, "blockdev", "--getsize64", device("exact", "web1")), "25165824")
	c.on(c.a, "virsh", "blockresize", g.name, "vda", "24MiB")
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// loseState removes the state file of a host.
func (c *cluster) loseState(h *lab.Host) {
	c.Helper()
	files := c.glob(h.Path("/var/lib/volbridge"), "*")
	if len(files) == 0 {
		c.Fatal("there is no state file to lose")
	}
	for _, f := range files {
		c.must(os.Remove(f))
	}
}

// exit runs a program on a host and returns what it said and its exit code.
func (c *cluster) exit(h *lab.Host, args ...string) (string, int) {
	c.Helper()
	cmd := h.Command(c.ctx, args[0], args[1:]...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}
