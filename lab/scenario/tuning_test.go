package scenario

import (
	"strings"
	"testing"
)

// Each of libvirt's own ways to migrate works through the command, one after
// the other with the same guest, there and back.
func TestTuning(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	from, to := c.a, c.b
	for _, flags := range []string{
		"--p2p",
		"--auto-converge --auto-converge-initial 10 --auto-converge-increment 5",
		"--parallel --parallel-connections 2",
		"--postcopy",
		"--undefine-source",
		"--listen-address 0.0.0.0",
		"--bandwidth 100 --timeout-stalled 1m",
	} {
		args := append([]string{"volbridge", "migrate", g.name, to.URI()}, strings.Fields(flags)...)
		c.on(from, args...)
		c.runsOnlyOn(g, to)
		from, to = to, from
	}
	c.stopAndCheck(g, from, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// The same for those that matter to a copy.
func TestTuningOfACopy(t *testing.T) {
	for name, flags := range map[string]string{
		"synchronous writes": "--copy-storage-synchronous-writes",
		"disks port":         "--disks-port 49800",
		"new name":           "--dname web2",
		"peer to peer":       "--p2p",
	} {
		t.Run(name, func(t *testing.T) {
			c := up(t, "")
			g := c.startFileGuest()
			c.on(c.a, append([]string{"volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "fast"}, strings.Fields(flags)...)...)
			c.runsOnlyOn(g, c.b)
			if strings.Contains(flags, "--dname") {
				c.wants(c.on(c.b, "virsh", "list", "--all", "--name"), "web2")
			}
			c.onVolume(c.disk(c.b, g, "vda"), "fast", "web1-vda", guestBytes)
			c.stopAndCheck(g, c.b, c.raw("fast", "web1-vda"), "raw", guestBytes)
			c.nothingLeft("fast/web1-vda")
		})
	}
}

// libvirt refuses (there are no certificates): its words reach the user, and
// everything goes back.
func TestLibvirtRefuses(t *testing.T) {
	c := up(t, "")
	g := c.startFileGuest()
	out, code := c.exit(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "fast", "--tls")
	if code != 5 {
		t.Errorf("exit code %d, want 5: everything was taken back", code)
	}
	c.wants(out, "libvirt", "runs on at the source")
	c.allBack(g)
}
