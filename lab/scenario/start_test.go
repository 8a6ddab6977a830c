package scenario

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// The same volume is started on two hosts: the second is refused, and is told
// who holds it.
func TestOneVolumeOnTwoHosts(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.wants(c.refused(c.b, "virsh", "start", g.name), "exact/web1", "kvm01", "web1")
	other := strings.Replace(strings.Replace(xml, g.uuid, newUUID(), 1), "<name>web1<", "<name>other<", 1)
	c.define(c.a, other)
	c.wants(c.refused(c.a, "virsh", "start", "other"), "exact/web1", "web1")
	c.wants(c.refused(c.a, "volbridge", "volume", "delete", "--yes", "exact/web1"), "kvm01")
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// A pending attachment that a failed migration left on a host does not let a
// cold start run there beside the source.
func TestLeftoverPendingDoesNotAllowAStart(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	// The script after ours fails at migrate: libvirt makes no further call.
	c.trip(c.b, "90-after-migrate")
	c.refused(c.a, "virsh", "migrate", "--live", g.name, c.b.URI())
	c.must(os.Remove(c.b.Path("/run/trip-90-after-migrate")))
	c.wants(c.refused(c.b, "virsh", "start", g.name), "kvm01")
	c.runsOnlyOn(g, c.a)
	c.recover(c.b, "--pending-older-than", "0s")
	// And the way is free again.
	c.on(c.a, "virsh", "migrate", "--live", g.name, c.b.URI())
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// An offline migration brings the definition and no guest, which runs on where it
// was. libvirt asks the hook all the same, and stores its answer: a start with that
// is not the arrival of the guest.
func TestOfflineMigrationDoesNotAllowAStart(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.on(c.a, "virsh", "migrate", "--offline", "--persistent", g.name, c.b.URI())
	if stored := c.on(c.b, "virsh", "dumpxml", "--inactive", g.name); !strings.Contains(stored, "arrival token=") {
		t.Errorf("libvirt stored another answer than the hook's:\n%s", stored)
	}
	c.wants(c.refused(c.b, "virsh", "start", g.name), "exact/web1", "kvm01")
	c.runsOnlyOn(g, c.a)
	c.recover(c.b, "--pending-older-than", "0s")
	c.wants(c.refused(c.b, "virsh", "start", g.name), "exact/web1", "kvm01")
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	// With the guest off, it starts where it was sent to.
	c.on(c.b, "virsh", "start", g.name)
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// Ten domains start at once.
func TestTenAtOnce(t *testing.T) {
	c := up(t, "")
	var guests []*guest
	for i := range 10 {
		g, xml := c.volumeGuest("exact", fmt.Sprintf("web%d", i))
		c.define(c.a, xml)
		guests = append(guests, g)
	}
	errs := make([]error, len(guests))
	var wg sync.WaitGroup
	for i, g := range guests {
		wg.Go(func() { _, errs[i] = c.a.Run(c.ctx, "virsh", "start", g.name) })
	}
	wg.Wait()
	var volumes []string
	for i, g := range guests {
		c.must(errs[i])
		c.ticks(g)
		volumes = append(volumes, "exact/"+g.name)
	}
	for _, g := range guests {
		c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	}
	c.nothingLeft(volumes...)
}

// A domain without a managed disk is none of our business: no configuration is
// read, no state is opened, and other scripts run before and after ours.
func TestUnmanagedDomain(t *testing.T) {
	c := up(t, "")
	c.must(c.a.WriteFile("/etc/volbridge/volbridge.toml", []byte("this is = not [ TOML"), 0o600))
	g, xml := c.fileGuest(c.a, "plain")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.must(c.a.RestartDaemon(c.ctx))
	c.ticks(g)
	c.on(c.a, "virsh", "destroy", g.name)
	if _, err := os.Stat(c.a.Path("/var/lib/volbridge/state.db")); !os.IsNotExist(err) {
		t.Errorf("the state file: %v, want none", err)
	}
	diary, err := os.ReadFile(c.a.Path("/run/diary"))
	c.must(err)
	for _, op := range []string{"prepare", "start", "started", "reconnect", "stopped", "release"} {
		c.wants(string(diary), "10-before plain "+op, "90-after plain "+op)
	}
}

// Other scripts before and after ours, and the daemon's restart, change
// nothing for a managed guest, and a broken configuration never kills one.
func TestDaemonRestartWithManagedGuest(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	good := pools(c.lab.SharedDir())
	for _, config := range []string{good, "broken [", good} {
		c.must(c.a.WriteFile("/etc/volbridge/volbridge.toml", []byte(config), 0o600))
		c.must(c.a.RestartDaemon(c.ctx))
		c.runsOnlyOn(g, c.a)
	}
	diary, err := os.ReadFile(c.a.Path("/run/diary"))
	c.must(err)
	c.wants(string(diary), "10-before web1 reconnect", "90-after web1 reconnect")
	c.stopAndCheck(g, c.a, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// A start that cannot be: the error names the disk and the remedy, and nothing
// stays behind.
func TestStartRefused(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	cases := map[string]struct {
		xml   string
		wants []string
	}{
		"unknown pool":                 {strings.ReplaceAll(xml, "/exact/", "/nopool/"), []string{"nopool"}},
		"another spelling of the path": {strings.ReplaceAll(xml, "/dev/volbridge/", "/dev//volbridge/"), []string{"vda", device("exact", "web1")}},
		"unknown volume":               {strings.ReplaceAll(xml, "/exact/web1", "/exact/other"), []string{"exact/other"}},
	}
	for name, x := range cases {
		t.Run(name, func(t *testing.T) {
			c.define(c.a, x.xml)
			c.wants(c.refused(c.a, "virsh", "start", g.name), x.wants...)
		})
	}
	c.nothingLeft("exact/web1")
}
