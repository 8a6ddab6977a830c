package scenario

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/lab"
)

// An image goes onto an array, by a connection of this host and by one of its
// host group; the guest that boots from it grows with its volume.
func TestDeployOntoAnArray(t *testing.T) {
	for name, o := range map[string]arrayOptions{
		"connected for the time": {},
		"shown to a group":       {group: "kvm", lines: []string{`hostgroup = "kvm"`}},
	} {
		t.Run(name, func(t *testing.T) {
			c := upWithArrays(t, o)
			image := filepath.Join(c.lab.SharedDir(), "image.qcow2")
			c.must(lab.WriteTickImage(c.ctx, image, "qcow2", 20*mib, 3))
			sum, err := lab.HashUntouched(c.ctx, image, "qcow2", 20*mib)
			c.must(err)
			c.wants(c.on(c.a, "volbridge", "volume", "create", "flash/web1", "--from", image, "--compare"), "and compared it")
			v, there := c.flash.Volume("web1")
			if !there {
				t.Fatal("the array has no volume web1")
			}
			g := &guest{name: "web1", uuid: newUUID(), boot: v.File, format: "raw", sum: sum}
			c.define(c.a, c.xml(g, lab.BlockDisk("vda", devicePath(v))))
			c.on(c.a, "virsh", "start", g.name)
			c.ticks(g)
			c.wants(c.refused(c.a, "volbridge", "volume", "import", "flash/web1", image, "--overwrite"), "web1")
			if r := c.resize(c.a, "flash/web1", "32MiB"); !r.GrownHere || len(r.Guests) != 1 || !r.Guests[0].Resized || len(r.Todo) > 0 {
				t.Errorf("resize: %+v", r)
			}
			if got := c.capacity(c.a, g, "vda"); got != 32*mib {
				t.Errorf("the guest sees %d bytes", got)
			}
			c.stopAndCheck(g, c.a, v.File, "raw", 20*mib)
			c.on(c.a, "volbridge", "volume", "import", "flash/web1", image, "--overwrite", "--compare")
			if got, err := lab.HashUntouched(c.ctx, v.File, "raw", 20*mib); err != nil || got != sum {
				t.Errorf("the second import differs: %v", err)
			}
			// A host group keeps the device for as long as there is a volume.
			c.on(c.a, "virsh", "undefine", g.name)
			c.on(c.a, "volbridge", "volume", "delete", "flash/web1", "--yes")
			c.nothingLeft()
		})
	}
}

// A copy that fails half way leaves no volume on the array.
func TestFailedDeployOntoAnArray(t *testing.T) {
	c := upWithArrays(t, arrayOptions{})
	image := filepath.Join(c.lab.SharedDir(), "image.qcow2")
	c.must(lab.WriteTickImage(c.ctx, image, "qcow2", 20*mib, 3))
	script := "#!/bin/sh\ncase \"$*\" in *host_device*) /usr/bin/qemu-img \"$@\"; echo it broke >&2; exit 1;; esac\nexec /usr/bin/qemu-img \"$@\"\n"
	c.must(c.a.WriteFile("/usr/local/sbin/qemu-img", []byte(script), 0o755))
	out, code := c.exit(c.a, "env", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "volbridge", "volume", "create", "flash/web1", "--from", image)
	if code != 5 || !strings.Contains(out, "it broke") {
		t.Errorf("ended with %d: %s", code, out)
	}
	if _, there := c.flash.Volume("web1"); there {
		t.Error("the array still has the volume")
	}
	c.nothingLeft()
}
