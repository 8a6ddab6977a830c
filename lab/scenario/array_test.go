package scenario

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/arrays"
	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/labtest"
)

// arrayCluster is a cluster whose pools are on FlashArray stand-ins: pool flash
// on the first, tank on the second, if there is one.
type arrayCluster struct {
	*cluster
	flash, tank *arrays.Running
}

// playedBinaries are the commands for hosts whose NVMe is played; see package
// nvmesim.
var playedBinaries = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(binaries, "played")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	return dir, build(dir, "lab")
})

type arrayOptions struct {
	first  flasharray.Options
	second bool     // there is a second array
	group  string   // a host group of both hosts on the first array
	lines  []string // more lines for pool flash
	alone  bool     // no other test runs at the same time
	// timeouts are lines for the section of this name.
	timeouts string
}

// upWithArrays starts two hosts and their arrays.
func upWithArrays(t *testing.T, o arrayOptions) *arrayCluster {
	t.Helper()
	testenv.NeedRoot(t)
	if !o.alone {
		t.Parallel()
	}
	dir, err := playedBinaries()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	l := labtest.Start(t, lab.Options{Hosts: []lab.HostOptions{hostFrom(dir, "kvm01", ""), hostFrom(dir, "kvm02", "")}})
	c := &arrayCluster{cluster: &cluster{T: t, ctx: ctx, lab: l, a: l.Host("kvm01"), b: l.Host("kvm02")}}
	for _, h := range l.Hosts() {
		c.installFrom(dir, h)
	}
	o.first.Name = "flash1"
	c.flash = c.array(arrays.Options{Options: o.first})
	if o.group != "" {
		c.flash.AddGroup(o.group, "kvm01", "kvm02")
	}
	config := c.flash.PoolConfig("flash", append([]string{"eradicate = true"}, o.lines...)...)
	if o.second {
		c.tank = c.array(arrays.Options{Options: flasharray.Options{Name: "tank1"}, Address: "10.77.0.2"})
		config += c.tank.PoolConfig("tank", "eradicate = true")
	}
	for _, h := range l.Hosts() {
		c.must(h.WriteFile("/etc/volbridge/volbridge.toml", []byte(strings.Replace(pools(l.SharedDir()), "[timeouts]\n", "[timeouts]\n"+o.timeouts, 1)+config), 0o600))
	}
	for _, p := range []string{"fast", "exact"} {
		c.on(c.a, "volbridge", "pool", "init", p)
	}
	return c
}

func (c *arrayCluster) array(o arrays.Options) *arrays.Running {
	c.Helper()
	r, err := arrays.Start(c.ctx, c.lab, o)
	c.must(err)
	c.Cleanup(func() {
		if c.Failed() {
			c.Logf("array %s was called:\n%s", o.Name, callsOf(r))
		}
		if err := r.Close(); err != nil {
			c.Error(err)
		}
	})
	return r
}

func callsOf(r *arrays.Running) string {
	var lines []string
	for _, call := range r.Calls() {
		lines = append(lines, call.String())
	}
	return strings.Join(lines, "\n")
}

// volume makes a guest whose boot disk is a volume of pool flash.
func (c *arrayCluster) volume(name string) (*guest, string) {
	c.Helper()
	c.on(c.a, "volbridge", "volume", "create", "flash/"+name, "--size", "20MiB")
	v, there := c.flash.Volume(name)
	if !there {
		c.Fatalf("the array has no volume %s", name)
	}
	c.must(lab.WriteTickImage(c.ctx, v.File, "raw", 20*mib, int64(len(name))))
	sum, err := lab.HashUntouched(c.ctx, v.File, "raw", 20*mib)
	c.must(err)
	g := &guest{name: name, uuid: newUUID(), boot: v.File, format: "raw", sum: sum}
	return g, c.xml(g, lab.BlockDisk("vda", devicePath(v)))
}

// devicePath is where hosts that are connected to a volume have it.
func devicePath(v flasharray.Volume) string {
	return "/dev/disk/by-id/nvme-eui." + flasharray.NGUID(v.Serial)
}

// seenBy fails unless exactly these hosts are connected to the volume and have
// its device.
func (c *arrayCluster) seenBy(r *arrays.Running, name string, hosts ...*lab.Host) {
	c.Helper()
	v, there := r.Volume(name)
	if !there {
		c.Fatalf("array has no volume %s", name)
	}
	var want []string
	for _, h := range hosts {
		want = append(want, h.Name())
	}
	if !slices.Equal(v.Hosts, want) {
		c.Errorf("volume %s is connected to %v, want %v", name, v.Hosts, want)
	}
	for _, h := range c.lab.Hosts() {
		_, err := os.Lstat(h.Path(devicePath(v)))
		if has := err == nil; has != slices.Contains(want, h.Name()) {
			c.Errorf("%s: has the device of %s: %v", h.Name(), name, has)
		}
	}
}

// sum hashes a whole file.
func (c *arrayCluster) sum(file string) string {
	c.Helper()
	out, err := exec.CommandContext(c.ctx, "sha256sum", file).Output()
	c.must(err)
	return strings.Fields(string(out))[0]
}

// clean fails if a connection, a holder, a device or a record is left.
func (c *arrayCluster) clean() {
	c.Helper()
	for _, r := range []*arrays.Running{c.flash, c.tank} {
		if r == nil {
			continue
		}
		if left := r.Connections(); len(left) > 0 {
			c.Errorf("connections left: %v", left)
		}
		for _, v := range r.Volumes() {
			for tag := range v.Tags {
				if strings.HasPrefix(tag, "volbridge/h.") {
					c.Errorf("volume %s: holder left: %s", v.Name, tag)
				}
			}
		}
	}
	if loops := c.loops(); len(loops) > 0 {
		c.Errorf("devices left: %v", loops)
	}
	for _, h := range c.lab.Hosts() {
		if fs := c.findings(h); len(fs) > 0 {
			c.Errorf("%s: recover finds %v", h.Name(), fs)
		}
		for _, pattern := range []string{"nvme*n*", "disk/by-id/*"} {
			if left := c.glob(h.Path("/dev"), pattern); len(left) > 0 {
				c.Errorf("%s: left: %v", h.Name(), left)
			}
		}
	}
}

// build builds the commands with further tags into dir.
func build(dir, tags string) error {
	for name, b := range map[string]struct{ cgo, tags, pkg string }{
		"volbridge":      {"1", "libvirt_dlopen", "cmd/volbridge"},
		"volbridge-hook": {"0", "", "cmd/volbridge-hook"},
	} {
		c := exec.Command("go", "build", "-tags", strings.Trim(b.tags+","+tags, ","), "-o", filepath.Join(dir, name), "../../"+b.pkg)
		c.Env = append(os.Environ(), "CGO_ENABLED="+b.cgo)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return writeTripwires(dir)
}
