package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/lab"
)

// An image becomes a volume, and a guest boots from it, on both generations of
// QEMU. While the guest runs, no host can write the volume.
func TestDeployAnImageAndStartAGuest(t *testing.T) {
	c := up(t, lab.Trixie)
	image := filepath.Join(c.lab.SharedDir(), "image.qcow2")
	c.must(lab.WriteTickImage(c.ctx, image, "qcow2", guestBytes, 3))
	sum, err := lab.HashUntouched(c.ctx, image, "qcow2", guestBytes)
	c.must(err)
	for _, h := range []*lab.Host{c.a, c.b} {
		name := "web-" + h.Name()
		g := &guest{name: name, uuid: newUUID(), boot: c.raw("exact", name), format: "raw", sum: sum}
		c.wants(c.on(h, "volbridge", "volume", "create", "exact/"+name, "--from", image, "--compare"), "and compared it")
		c.define(h, c.xml(g, lab.BlockDisk("vda", device("exact", name))))
		c.on(h, "virsh", "start", name)
		c.ticks(g)
		for _, other := range c.lab.Hosts() {
			c.wants(c.refused(other, "volbridge", "volume", "import", "exact/"+name, image, "--overwrite"), h.Name(), name)
		}
		c.ticks(g)
		c.stopAndCheck(g, h, g.boot, "raw", guestBytes)

		// Off, the volume may be written anew: the guest begins again.
		c.wants(c.refused(h, "volbridge", "volume", "import", "exact/"+name, image), "not empty", "--overwrite")
		c.on(h, "volbridge", "volume", "import", "exact/"+name, image, "--overwrite")
		c.must(os.Remove(c.lab.SerialLog(name)))
		c.on(h, "virsh", "start", name)
		c.ticks(g)
		c.stopAndCheck(g, h, g.boot, "raw", guestBytes)
	}
	c.nothingLeft("exact/web-kvm01", "exact/web-kvm02")
}

// An image that names another file of the host is not a way to read it.
func TestDeployReadsNoOtherFile(t *testing.T) {
	c := up(t, lab.Trixie)
	for _, h := range []*lab.Host{c.a, c.b} {
		secret := filepath.Join(c.lab.SharedDir(), "secret-"+h.Name())
		c.must(os.WriteFile(secret, []byte(strings.Repeat("the secret ", 50_000)), 0o600))
		for name, args := range map[string][]string{
			"backed.qcow2":   {"create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw"},
			"external.qcow2": {"create", "-q", "-f", "qcow2", "-o", "data_file=" + secret + ",data_file_raw=on,size=512k"},
		} {
			path := filepath.Join(c.lab.SharedDir(), h.Name()+name)
			c.on(h, append(append([]string{"qemu-img"}, args...), path)...)
			c.wants(c.refused(h, "volbridge", "volume", "create", "exact/x", "--from", path), "refused", "file")
		}
		descriptor := filepath.Join(c.lab.SharedDir(), h.Name()+".vmdk")
		c.must(os.WriteFile(descriptor, []byte("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 1024 FLAT \""+secret+"\" 0\n"), 0o600))
		c.wants(c.refused(h, "volbridge", "volume", "create", "exact/x", "--from", descriptor), "names other files")
	}
	c.nothingLeft()
}
