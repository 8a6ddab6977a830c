package scenario

import (
	"net/http"
	"testing"

	"github.com/volbridge/volbridge/lab/flasharray"
)

// The array has taken a host's holder off a volume, but its reply was lost, and
// then the guest was started on another host. When the array falls silent the
// first host still has the device, through the host group, and a record of the
// guest that stopped there. It must not start it again.
func TestLostRevokeBeforeSilence(t *testing.T) {
	c := upWithArrays(t, arrayOptions{group: "kvm", lines: []string{`hostgroup = "kvm"`}})
	g, xml := c.volume("web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.on(c.a, "mv", "/usr/bin/volbridge", "/usr/bin/volbridge.away") // or recovery would settle it at once
	c.flash.FailFrom(1, flasharray.Fault{Kind: flasharray.LostAfter, Method: http.MethodDelete, Path: "/volumes/tags"})
	c.on(c.a, "virsh", "destroy", g.name)
	c.on(c.b, "virsh", "start", g.name)
	c.runsOnlyOn(g, c.b)
	c.flash.FailFrom(1, flasharray.Fault{Kind: flasharray.LostBefore})
	c.wants(c.refused(c.a, "virsh", "start", g.name), "flash", c.flash.Address)
	c.runsOnlyOn(g, c.b)
	c.flash.ClearFaults()
	c.on(c.a, "mv", "/usr/bin/volbridge.away", "/usr/bin/volbridge")
	c.recover(c.a)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.on(c.b, "volbridge", "volume", "delete", "--yes", "flash/web1")
	c.clean()
}
