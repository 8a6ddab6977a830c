package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/labtest"
)

// limit bounds each test: software emulation on a busy machine is slow, but
// not this slow.
const limit = 12 * time.Minute

const (
	mib = 1 << 20
	// guestBytes is the size of the tick guest's disk: not a multiple of the
	// granularity of pool fast, so that its volumes are larger.
	guestBytes = 20*mib + 512
	// granularity of pool fast.
	granularity = 8 * mib
)

// pools is the configuration of every host: two pools in directories that the
// hosts share, and one that each host has for itself.
func pools(shared string) string {
	return fmt.Sprintf(`
[timeouts]
pending_age = "1h"

[pool.fast]
type = "dir"
path = "%[1]s/fast"
granularity = "8MiB"

[pool.exact]
type = "dir"
path = "%[1]s/exact"
`, shared)
}

// tripwire is another hook script, installed as 10-before and as 90-after. It
// keeps a diary, and where its host has the file /run/trip-SCRIPT-OPERATION it
// fails that operation. It lets probes pass.
const tripwire = `#!/bin/sh
cat >/dev/null
case "$1" in volbridge-probe-*) exit 0 ;; esac
me=${0##*/}
echo "$me $1 $2" >>/run/diary
if [ -e "/run/trip-$me-$2" ]; then
  echo "tripped over $2" >&2
  exit 1
fi
`

// binaries are built once for all tests.
var binaries string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "volbridge-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	if os.Geteuid() == 0 {
		if err := build(dir, ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

func writeTripwires(dir string) error {
	for _, script := range []string{"10-before", "90-after"} {
		if err := os.WriteFile(filepath.Join(dir, script), []byte(tripwire), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// cluster is a lab with volbridge on its hosts.
type cluster struct {
	*testing.T
	ctx  context.Context
	lab  *lab.Lab
	a, b *lab.Host
}

// up starts two hosts; releases says what the second one runs.
func up(t *testing.T, release string) *cluster {
	t.Helper()
	testenv.NeedRoot(t)
	t.Parallel() // each lab is a world of its own
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	l := labtest.Start(t, lab.Options{Hosts: []lab.HostOptions{host("kvm01", ""), host("kvm02", release)}})
	c := &cluster{T: t, ctx: ctx, lab: l, a: l.Host("kvm01"), b: l.Host("kvm02")}
	for _, h := range l.Hosts() {
		c.install(h)
	}
	for _, p := range []string{"fast", "exact"} {
		c.on(c.a, "volbridge", "pool", "init", p)
	}
	return c
}

func host(name, release string) lab.HostOptions { return hostFrom(binaries, name, release) }

// hostFrom is a host with the hook that was built into dir.
func hostFrom(dir, name, release string) lab.HostOptions {
	hooks := map[string]string{}
	for _, n := range []string{"10-before", "90-after"} {
		hooks[n] = filepath.Join(dir, n)
	}
	hooks["50-volbridge"] = filepath.Join(dir, "volbridge-hook")
	return lab.HostOptions{Name: name, Release: release, HookDir: hooks}
}

// install puts the command and the configuration on a host. The hook is read
// at each call and needs no more.
func (c *cluster) install(h *lab.Host) { c.Helper(); c.installFrom(binaries, h) }

func (c *cluster) installFrom(dir string, h *lab.Host) {
	c.Helper()
	command, err := os.ReadFile(filepath.Join(dir, "volbridge"))
	c.must(err)
	c.must(h.WriteFile("/usr/bin/volbridge", command, 0o755))
	c.must(h.WriteFile("/etc/volbridge/volbridge.toml", []byte(pools(c.lab.SharedDir())), 0o600))
	for _, p := range []string{"fast", "exact"} {
		c.must(os.MkdirAll(filepath.Join(c.lab.SharedDir(), p), 0o755))
	}
}

func (c *cluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// on runs a program on a host and fails the test if it fails.
func (c *cluster) on(h *lab.Host, args ...string) string {
	c.Helper()
	out, err := h.Run(c.ctx, args[0], args[1:]...)
	c.must(err)
	return out
}

// refused runs a program that must fail, and returns what it said.
func (c *cluster) refused(h *lab.Host, args ...string) string {
	c.Helper()
	out, err := h.Run(c.ctx, args[0], args[1:]...)
	if err == nil {
		c.Fatalf("%s: %v succeeded:\n%s", h.Name(), args, out)
	}
	return out
}

// wants fails unless the text has each part.
func (c *cluster) wants(text string, parts ...string) {
	c.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			c.Errorf("%q is missing in:\n%s", p, text)
		}
	}
}

// guest is a tick guest of the cluster.
type guest struct {
	name, uuid string
	boot       string // path of its boot disk at first
	format     string
	sum        string // of what it never writes
}

// fileGuest makes a guest with a qcow2 boot disk in host h's own images, and
// returns its definition.
func (c *cluster) fileGuest(h *lab.Host, name string, more ...string) (*guest, string) {
	c.Helper()
	path := "/var/lib/libvirt/images/" + name + ".qcow2"
	outside := filepath.Join(h.ImagesDir(), name+".qcow2")
	c.must(lab.WriteTickImage(c.ctx, outside, "qcow2", guestBytes, int64(len(name))))
	sum, err := lab.HashUntouched(c.ctx, outside, "qcow2", guestBytes)
	c.must(err)
	g := &guest{name: name, uuid: newUUID(), boot: outside, format: "qcow2", sum: sum}
	return g, c.xml(g, append([]string{lab.FileDisk("vda", "qcow2", path)}, more...)...)
}

// volumeGuest makes a guest whose boot disk is a volume of a pool.
func (c *cluster) volumeGuest(pool, name string, more ...string) (*guest, string) {
	c.Helper()
	c.on(c.a, "volbridge", "volume", "create", pool+"/"+name, "--size", "20MiB")
	raw := c.raw(pool, name)
	c.must(lab.WriteTickImage(c.ctx, raw, "raw", 20*mib, int64(len(name))))
	st, err := os.Stat(raw)
	c.must(err)
	sum, err := lab.HashUntouched(c.ctx, raw, "raw", st.Size())
	c.must(err)
	g := &guest{name: name, uuid: newUUID(), boot: raw, format: "raw", sum: sum}
	return g, c.xml(g, append([]string{lab.BlockDisk("vda", device(pool, name))}, more...)...)
}

func (c *cluster) xml(g *guest, disks ...string) string {
	return lab.TickGuest{Name: g.name, UUID: g.uuid, Disks: disks, SerialLog: c.lab.SerialLog(g.name)}.XML()
}

// device is where every host sees a volume.
func device(pool, volume string) string { return "/dev/volbridge/" + pool + "/" + volume }

// raw is the file behind a volume, as the machine sees it.
func (c *cluster) raw(pool, volume string) string {
	return filepath.Join(c.lab.SharedDir(), pool, volume, "disk.raw")
}

// define stores a definition on a host, create starts a transient domain.
func (c *cluster) define(h *lab.Host, xml string) { c.Helper(); c.withXML(h, xml, "define") }
func (c *cluster) create(h *lab.Host, xml string) { c.Helper(); c.withXML(h, xml, "create") }

func (c *cluster) withXML(h *lab.Host, xml, verb string) {
	c.Helper()
	path := "/run/" + verb + ".xml"
	c.must(h.WriteFile(path, []byte(xml), 0o600))
	c.on(h, "virsh", verb, path)
}

// ticks waits until the guest has counted on from now, and so lives.
func (c *cluster) ticks(g *guest) lab.Ticks {
	c.Helper()
	t, err := lab.WaitMore(c.ctx, c.lab.SerialLog(g.name), 5)
	if err != nil {
		c.Fatalf("guest %s does not count: %v", g.name, err)
	}
	return t
}

// runsOnlyOn fails unless the guest counts, and libvirt has it active on
// exactly this host.
func (c *cluster) runsOnlyOn(g *guest, where *lab.Host) {
	c.Helper()
	c.ticks(g)
	for _, h := range c.lab.Hosts() {
		active := strings.Contains(c.on(h, "virsh", "list", "--uuid"), g.uuid)
		if active != (h == where) {
			c.Errorf("guest %s on %s: active is %v", g.name, h.Name(), active)
		}
	}
}

// stopAndCheck ends the guest, and compares what it said with what is on its
// disk: no value that was printed may be missing, and nothing that it never
// writes may differ.
func (c *cluster) stopAndCheck(g *guest, where *lab.Host, path, format string, sizeBytes int64) {
	c.Helper()
	c.on(where, "virsh", "destroy", g.uuid)
	log, err := os.ReadFile(c.lab.SerialLog(g.name))
	c.must(err)
	disk, err := lab.DiskTick(c.ctx, path, format)
	c.must(err)
	t, err := lab.CheckTicks(log, disk)
	if err != nil {
		c.Errorf("guest %s: %v", g.name, err)
	}
	sum, err := lab.HashUntouched(c.ctx, path, format, sizeBytes)
	c.must(err)
	if sum != g.sum {
		c.Errorf("guest %s: what it never writes has the SHA-256 %s, at first it was %s", g.name, sum, g.sum)
	}
	c.Logf("guest %s: %d values, none lost; untouched regions equal", g.name, t.Count)
}

// nothingLeft fails if a grant, a device, a link, a record or a volume other
// than those named is anywhere.
func (c *cluster) nothingLeft(volumes ...string) {
	c.Helper()
	c.volumesAre(volumes...)
	for _, f := range c.glob(c.lab.SharedDir(), "*/*/grants/*") {
		c.Errorf("grant left: %s", f)
	}
	if loops := c.loops(); len(loops) > 0 {
		c.Errorf("loop devices left: %v", loops)
	}
	for _, h := range c.lab.Hosts() {
		for _, f := range c.glob(h.Path("/dev/volbridge"), "*/*") {
			c.Errorf("%s: link left: %s", h.Name(), f)
		}
		if fs := c.findings(h); len(fs) > 0 {
			c.Errorf("%s: recover finds %v", h.Name(), fs)
		}
	}
}

// volumesAre compares the volumes of the shared pools with those wanted, as
// pool/volume.
func (c *cluster) volumesAre(want ...string) {
	c.Helper()
	var have []string
	for _, f := range c.glob(c.lab.SharedDir(), "*/*/disk.raw") {
		rel, err := filepath.Rel(c.lab.SharedDir(), filepath.Dir(f))
		c.must(err)
		have = append(have, rel)
	}
	sort.Strings(have)
	sort.Strings(want)
	if fmt.Sprint(have) != fmt.Sprint(want) {
		c.Errorf("the pools hold the volumes %v, want %v", have, want)
	}
}

func (c *cluster) glob(dir, pattern string) []string {
	c.Helper()
	fs, err := filepath.Glob(filepath.Join(dir, pattern))
	c.must(err)
	return fs
}

// loops lists the loop devices whose files are in this lab. The kernel lets one that
// was unbound go when the last who has it open closes it, and another lab that looks
// for devices of its own opens all: of such a one the end is waited for.
func (c *cluster) loops() []string {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 20*time.Second)
	defer cancel()
	for {
		mine, ending := c.boundLoops()
		if !ending || ctx.Err() != nil {
			return mine
		}
		runtime.Gosched()
	}
}

// boundLoops is what loops lists just now, and whether one of it is unbound already
// but for those who have it open.
func (c *cluster) boundLoops() (mine []string, ending bool) {
	c.Helper()
	out, err := exec.CommandContext(c.ctx, "losetup", "--noheadings", "--output", "NAME,AUTOCLEAR,BACK-FILE").Output()
	c.must(err)
	for _, line := range strings.Split(string(out), "\n") {
		if !strings.Contains(line, c.lab.Dir()+"/") {
			continue
		}
		mine = append(mine, line)
		ending = ending || strings.Fields(line)[1] == "1"
	}
	return mine, ending
}

// finding is what recover prints as JSON.
type finding struct {
	Kind, Subject, Seen, Action, Outcome, Error string
}

// findings is what a dry run of recover finds on a host.
func (c *cluster) findings(h *lab.Host) []finding {
	c.Helper()
	return c.recover(h, "--dry-run")
}

// recover runs volbridge recover; that something is left is no failure here.
func (c *cluster) recover(h *lab.Host, args ...string) []finding {
	c.Helper()
	cmd := h.Command(c.ctx, "volbridge", append([]string{"--output", "json", "recover"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var fs []finding
	if jsonErr := json.Unmarshal(out, &fs); jsonErr != nil {
		c.Fatalf("%s: recover: %v, %v\n%s%s", h.Name(), err, jsonErr, out, &stderr)
	}
	return fs
}

func newUUID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(b))
}
