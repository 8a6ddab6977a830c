package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/lab"
)

// The command is killed in the middle of a copy, and the administrator moves
// the guest with plain virsh, on its old image, which both hosts have. Recovery
// deletes the copy that nobody needs, and never the image that the guest uses.
func TestRecoverKeepsWhatTheGuestUses(t *testing.T) {
	c := up(t, "")
	image := filepath.Join(c.lab.SharedDir(), "web1.qcow2")
	c.must(lab.WriteTickImage(c.ctx, image, "qcow2", guestBytes, 4))
	sum, err := lab.HashUntouched(c.ctx, image, "qcow2", guestBytes)
	c.must(err)
	g := &guest{name: "web1", uuid: newUUID(), boot: image, format: "qcow2", sum: sum}
	c.define(c.a, c.xml(g, lab.FileDisk("vda", "qcow2", image)))
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	r := c.midCopy(g, "--remove-source", "--undefine-source")
	c.must(r.cmd.Process.Kill())
	r.ended()
	c.untilIdle(g)
	c.on(c.a, "virsh", "migrate", "--live", "--persistent", "--undefinesource", "--unsafe", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	if fs := c.recover(c.a); len(fs) != 1 || fs[0].Outcome != "done" || !strings.Contains(fs[0].Seen, "another migration") {
		t.Errorf("recover: %+v", fs)
	}
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, image, "qcow2", guestBytes)
	c.nothingLeft()
}

// The stored definition has another plan for a disk than the running one: it
// is the administrator's, and goes to the destination as it is.
func TestStoredDefinitionIsTheAdministrators(t *testing.T) {
	c := up(t, "")
	for _, v := range []string{"old", "next"} {
		c.on(c.a, "volbridge", "volume", "create", "exact/"+v, "--size", "8MiB")
	}
	g, xml := c.volumeGuest("exact", "web1", lab.BlockDisk("vdb", device("exact", "old")))
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.define(c.a, strings.Replace(xml, device("exact", "old"), device("exact", "next"), 1))
	c.on(c.a, "volbridge", "migrate", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	c.onVolume(c.disk(c.b, g, "vdb"), "exact", "old", 0)
	c.onVolume(c.disk(c.b, g, "vdb", "--inactive"), "exact", "next", 0)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1", "exact/old", "exact/next")
}

// A volume that another domain names is not removed with its source.
func TestRemoveSourceSparesWhatOthersName(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	maint := strings.Replace(strings.Replace(xml, g.uuid, newUUID(), 1), "<name>web1<", "<name>maint<", 1)
	c.define(c.a, maint)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	out := c.on(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "fast", "--remove-source", "--undefine-source")
	c.wants(out, "maint", "was not removed")
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, c.raw("fast", "web1-vda"), "raw", 20*mib)
	c.nothingLeft("exact/web1", "fast/web1-vda")
}

// The guest is stopped after the command was killed: where its data is newest
// cannot be known any more. Nothing is deleted, and the administrator decides.
func TestAbandon(t *testing.T) {
	c := up(t, "")
	g := c.startFileGuest()
	r := c.midCopy(g)
	c.must(r.cmd.Process.Kill())
	r.ended()
	c.untilIdle(g)
	c.stopAndCheck(g, c.a, g.boot, g.format, guestBytes)
	fs := c.recover(c.a)
	if len(fs) != 1 || fs[0].Outcome != "left" || !strings.Contains(fs[0].Error, "--abandon 1") {
		t.Fatalf("recover: %+v", fs)
	}
	c.volumesAre("fast/web1-vda")
	c.wants(c.on(c.a, "volbridge", "recover", "--abandon", "1"), "fast/web1-vda")
	c.wants(c.refused(c.a, "volbridge", "recover", "--abandon", "1"), "no unfinished migration")
	c.nothingLeft("fast/web1-vda")
	c.on(c.a, "volbridge", "volume", "delete", "--yes", "fast/web1-vda")
	if _, err := os.Stat(g.boot); err != nil {
		t.Error(err)
	}
	c.nothingLeft()
}

// Two commands move the same guest at once: the second is refused before it
// makes anything.
func TestTwoCommandsAtOnce(t *testing.T) {
	c := up(t, "")
	g := c.startFileGuest()
	r := c.midCopy(g)
	c.wants(c.refused(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "exact"), "another migration")
	c.volumesAre("fast/web1-vda")
	if fs := c.findings(c.a); len(fs) != 1 || fs[0].Outcome != "kept" {
		t.Errorf("recover finds %+v beside a living command", fs)
	}
	c.on(c.a, "virsh", "migrate-setspeed", g.name, "1000")
	if code, said := r.ended(); code != 0 {
		t.Errorf("exit code %d\n%s", code, said)
	}
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, c.raw("fast", "web1-vda"), "raw", guestBytes)
	c.nothingLeft("fast/web1-vda")
}
