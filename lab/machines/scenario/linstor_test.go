//go:build machines

package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/cluster"
)

// clustered is a site whose KVM hosts are a LINSTOR cluster too.
type clustered struct {
	*site
	linstor *cluster.Running
}

// TestLINSTOR is volumes of a LINSTOR cluster, with the kernel's DRBD.
func TestLINSTOR(t *testing.T) {
	t.Parallel()
	s := startClustered(t)
	for _, c := range []struct {
		name string
		run  func(*clustered)
	}{
		{"a guest's life on a volume", linstorLife},
		{"two replicas", linstorReplicas},
		{"a file onto a cluster, and onto an array and back", ontoCluster},
		{"the destination fails after its hook", linstorFails},
		{"a copy meets a cut network, and a dead destination", linstorCopyFails},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			sub, inner := *s, *s.site
			inner.T, inner.since = t, time.Now()
			sub.site = &inner
			c.run(&sub)
			sub.cleanCluster()
			sub.phase(c.name)
		})
		if !ok {
			break // what it left would confuse the next
		}
	}
}

// startLINSTOR makes the hosts the nodes of a cluster, until the test ends. What its
// controller was asked is told when the test fails.
func (s *site) startLINSTOR() *cluster.Running {
	s.Helper()
	t := s.T // that of now: a site is handed on
	c, err := cluster.Start(t.Context(), s.Lab, cluster.Options{Address: "10.78.0.4", Hosts: s.hosts()})
	s.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, call := range c.Calls() {
				t.Log(call)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func startClustered(t *testing.T) *clustered {
	s := &clustered{site: startSite(t)}
	s.linstor = s.startLINSTOR()
	more := s.linstor.PoolConfig("drbd", cluster.Group) + s.linstor.PoolConfig("drbd2", cluster.Replicas)
	for _, h := range s.hosts() {
		s.must(h.WriteFile(s.Context(), "/root/more.toml", []byte(more), 0o600))
		s.sh(h, `cat /root/more.toml >>/etc/volbridge/volbridge.toml; rm /root/more.toml`)
	}
	s.phase("cluster")
	return s
}

func drbdDevice(volume string) string { return "/dev/drbd/by-res/" + volume + "/0" }

// primaryOn fails unless the kernels say that exactly this host is Primary (nil:
// none), and neither they nor the controller allow two.
func (s *clustered) primaryOn(volume string, want *machines.Node) {
	s.Helper()
	d, there := s.linstor.Definition(volume)
	if !there {
		s.Fatalf("there is no volume %s", volume)
	}
	if len(d.Set) > 0 || len(d.TwoPrimaries) > 0 {
		s.Errorf("volume %s: two primaries are allowed at %v between %v", volume, d.Set, d.TwoPrimaries)
	}
	for _, h := range s.hosts() {
		roles := s.noTwoPrimaries(h, volume)
		if mine, _, _ := strings.Cut(roles, "/"); want != nil && (mine == "Primary") != (h == want) {
			s.Errorf("%s: its role is %q, and the guest runs on %s", h.Name(), roles, want.Name())
		}
	}
}

// offCluster ends the guest and compares what it said with the volume.
func (s *clustered) offCluster(h *machines.Node, g *guest, volume string) {
	s.Helper()
	s.on(h, "virsh", "destroy", g.name)
	s.primaryOn(volume, nil)
	d, _ := s.linstor.Definition(volume)
	keeper := s.Node(strings.Fields(d.Resources[0])[0])
	for _, r := range d.Resources {
		if !strings.Contains(r, " ") {
			keeper = s.Node(r)
		} else {
			s.Errorf("volume %s is still on %s", volume, r)
		}
	}
	for _, other := range s.hosts() { // who closed it last is still Primary: see cluster.Nodes
		s.sh(other, `drbdadm secondary "$1" 2>/dev/null || true`, volume)
	}
	s.sh(keeper, `drbdadm primary "$1"; dd if="$2" of=/root/disk bs=1M iflag=direct status=none; drbdadm secondary "$1"`, volume, drbdDevice(volume))
	local := filepath.Join(s.TempDir(), "disk")
	s.must(keeper.Fetch(s.inTime(), "/root/disk", local))
	count, err := lab.DiskTick(s.Context(), local, "raw")
	s.must(err)
	said, err := os.ReadFile(g.log)
	s.must(err)
	ticks, err := lab.CheckTicks(said, count)
	s.must(err)
	s.Logf("%s: %v", g.name, ticks)
}

// cleanCluster fails if anything is left, volumes and guests included.
func (s *clustered) cleanCluster() {
	s.Helper()
	s.clean()
	s.noVolumes()
	for _, h := range s.hosts() {
		s.noGuests(h)
	}
}

// noVolumes fails if the controller, a host's configuration, or a kernel has a
// volume.
func (s *clustered) noVolumes() {
	s.Helper()
	if left := s.linstor.Definitions(); len(left) > 0 {
		s.Errorf("volumes left: %+v", left)
	}
	for _, h := range s.hosts() {
		out := s.sh(h, `udevadm settle
			for f in /etc/drbd.d/*.res /dev/drbd/by-res/*/* /var/lib/linstor/*; do [ ! -e "$f" ] && [ ! -L "$f" ] || echo "$f"; done
			grep -s ' cs:' /proc/drbd || true`)
		if out != "" {
			s.Errorf("%s: resources left: %s", h.Name(), out)
		}
	}
}

func (s *clustered) noGuests(h *machines.Node) {
	s.Helper()
	if left := s.on(h, "virsh", "list", "--all", "--name"); left != "" {
		s.Errorf("%s: guests left: %s", h.Name(), left)
	}
}

// linstorLife: one replica, so that one of the hosts is always diskless.
func linstorLife(s *clustered) { s.life("drbd", "lin1", 5) }

// linstorReplicas: both hosts have the data.
func linstorReplicas(s *clustered) { s.life("drbd2", "lin2", 1) }

// life moves a new guest to and fro by plain virsh, so many times.
func (s *clustered) life(pool, name string, rounds int) {
	s.Helper()
	s.tickImage(s.a, "/root/tick.qcow2", "qcow2")
	s.on(s.a, "volbridge", "volume", "create", pool+"/"+name, "--from", "/root/tick.qcow2", "--compare")
	s.primaryOn(name, nil)
	s.phase("volume from an image")
	g := s.guest(name)
	for _, h := range s.hosts() {
		s.define(h, g, lab.BlockDisk("vda", drbdDevice(name)))
	}
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	s.primaryOn(name, s.a)
	s.refused(s.b, []string{pool + "/" + name, "kvm01"}, "virsh", "start", g.name)
	s.phase("start")
	from, to := s.a, s.b
	for range rounds {
		for range 2 {
			s.on(from, "virsh", "migrate", "--live", g.name, to.URI())
			s.primaryOn(name, to)
			from, to = to, from
		}
		s.ticks(g)
	}
	s.phase("migrations")
	s.offCluster(s.a, g, name)
	for _, h := range s.hosts() {
		s.on(h, "virsh", "undefine", g.name)
	}
	s.on(s.a, "volbridge", "volume", "delete", "--yes", pool+"/"+name)
}

// ontoCluster: one command moves a running guest from a file onto a volume that
// was rounded up, plain virsh moves it to and fro there, and one command each
// onto an array, and back onto a volume that has its size.
func ontoCluster(s *clustered) {
	const file, bytes = "/var/lib/libvirt/images/lin3.qcow2", 17 * mib
	local := filepath.Join(s.TempDir(), "image")
	s.must(lab.WriteTickImage(s.Context(), local, "qcow2", bytes, 1))
	s.must(s.a.Copy(s.inTime(), local, file, 0o644))
	g := s.guest("lin3")
	s.define(s.a, g, lab.FileDisk("vda", "qcow2", file))
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	s.linstor.SetExactSizes(false)
	s.Log(s.on(s.a, "volbridge", "migrate", g.name, s.b.URI(), "--to-pool", "drbd", "--undefine-source"))
	s.linstor.SetExactSizes(true)
	s.ticks(g)
	s.sees(s.b, g, bytes, "lin3-vda", 20*mib)
	s.phase("file onto the cluster")
	for _, way := range [][2]*machines.Node{{s.b, s.a}, {s.a, s.b}} {
		s.on(way[0], "virsh", "migrate", "--live", g.name, way[1].URI())
		s.ticks(g)
		s.sees(way[1], g, bytes, "lin3-vda", 20*mib)
	}
	s.phase("to and fro on a larger device")
	s.Log(s.on(s.b, "volbridge", "migrate", g.name, s.a.URI(), "--to-pool", "flash", "--undefine-source"))
	s.ticks(g)
	s.seenBy(s.flash, "lin3-vda", s.a)
	s.primaryOn("lin3-vda", nil)
	s.on(s.b, "volbridge", "volume", "delete", "--yes", "drbd/lin3-vda")
	s.phase("cluster onto the array")
	s.Log(s.on(s.a, "volbridge", "migrate", g.name, s.b.URI(), "--to-pool", "drbd", "--undefine-source"))
	s.ticks(g)
	s.seenBy(s.flash, "lin3-vda")
	s.sees(s.b, g, bytes, "lin3-vda", bytes)
	s.phase("array onto the cluster")
	s.offCluster(s.b, g, "lin3-vda")
	s.on(s.b, "virsh", "undefine", g.name)
	s.on(s.a, "volbridge", "volume", "delete", "--yes", "drbd/lin3-vda")
	s.on(s.a, "volbridge", "volume", "delete", "--yes", "flash/lin3-vda")
}

// sees fails unless the guest runs on this host, with a disk of its own size on
// a volume whose device may have another: a slice says so, of the running guest
// and of the stored one.
func (s *clustered) sees(h *machines.Node, g *guest, guestBytes int64, volume string, deviceBytes int64) {
	s.Helper()
	s.primaryOn(volume, h)
	if size := s.sh(h, `blockdev --getsize64 "$1"`, drbdDevice(volume)); size != fmt.Sprint(deviceBytes) {
		s.Errorf("%s: the device has %s bytes, want %d", h.Name(), size, deviceBytes)
	}
	if size := s.sh(h, `virsh domblkinfo "$1" vda | sed -n 's/^Capacity: *//p'`, g.name); size != fmt.Sprint(guestBytes) {
		s.Errorf("%s: the guest's disk has %s bytes, want %d", h.Name(), size, guestBytes)
	}
	slice := fmt.Sprintf("<slice type='storage' offset='0' size='%d'/>", guestBytes)
	for _, which := range []string{"", "--inactive"} {
		xml := s.sh(h, `virsh dumpxml $2 "$1"`, g.name, which)
		if !strings.Contains(xml, "<source dev='"+drbdDevice(volume)+"'") {
			s.Errorf("%s: the guest is not on %s:\n%s", h.Name(), volume, xml)
		}
		if !strings.Contains(xml, slice) {
			s.Errorf("%s: the guest's disk has no slice of %d bytes:\n%s", h.Name(), guestBytes, xml)
		}
	}
}

// sabotage has the second host fail at one operation of libvirt, after
// volbridge's hook.
func (s *clustered) sabotage(operation, script string) {
	s.Helper()
	s.must(s.b.WriteFile(s.inTime(), "/etc/libvirt/hooks/qemu.d/90-saboteur",
		[]byte("#!/bin/sh\n[ \"$2\" = "+operation+" ] || exit 0\n"+script+"\n"), 0o755))
}

// linstorFails: the destination's QEMU does not start, at two moments.
func linstorFails(s *clustered) {
	s.tickImage(s.a, "/root/tick.raw", "raw")
	s.on(s.a, "volbridge", "volume", "create", "drbd/lin4", "--from", "/root/tick.raw")
	g := s.guest("lin4")
	s.define(s.a, g, lab.BlockDisk("vda", drbdDevice("lin4")))
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	for _, operation := range []string{"migrate", "start"} {
		s.sabotage(operation, "echo sabotage >&2; exit 1")
		s.refused(s.a, nil, "virsh", "migrate", "--live", g.name, s.b.URI())
		s.Log(s.on(s.b, "volbridge", "recover", "--pending-older-than", "0s"))
		s.primaryOn("lin4", s.a)
		s.ticks(g)
	}
	s.on(s.b, "rm", "/etc/libvirt/hooks/qemu.d/90-saboteur")
	s.offCluster(s.a, g, "lin4")
	s.on(s.a, "virsh", "undefine", g.name)
	s.on(s.a, "volbridge", "volume", "delete", "--yes", "drbd/lin4")
}

// linstorCopyFails: the network between the hosts, and then the destination's
// power, go while a disk is copied onto a new volume. The guest runs on, and of
// the volume nothing is left.
func linstorCopyFails(s *clustered) {
	const file = "/var/lib/libvirt/images/lin5.qcow2"
	s.tickImage(s.a, file, "qcow2")
	// More than can be copied until somebody looks: see copying.
	s.on(s.a, "qemu-img", "resize", "-q", file, "128M")
	s.on(s.a, "qemu-io", "-c", "write -q -P 7 16M 96M", file)
	g := s.guest("lin5")
	s.define(s.a, g, lab.FileDisk("vda", "qcow2", file))
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)

	s.phase("a guest on a file")
	move := s.copying(g)
	s.sh(s.b, routes("add", s.a))
	move.refused("domain "+g.name, "connection to "+s.b.URI()+" was lost", "nothing was taken back", "then run `volbridge recover`")
	s.ticks(g)
	s.ended(s.b, g)
	s.sh(s.b, routes("del", s.a))
	s.recovered(g)
	s.phase("the network is cut during a copy")

	move = s.copying(g)
	s.must(s.b.Reset(s.inTime())) // it boots while the source is finding out
	move.refused("domain "+g.name, "connection to "+s.b.URI()+" was lost", "run `volbridge recover`")
	s.ticks(g)
	s.recovered(g)
	s.phase("the destination dies during a copy")
	s.on(s.a, "virsh", "destroy", g.name)
	s.on(s.a, "virsh", "undefine", g.name)
}

var copied = regexp.MustCompile(`^disk vda: ([0-9]{1,2})%`)

// copying begins to move the guest onto the cluster, and returns while its disk
// is copied: at 1 MiB/s, so that there is a while to come.
func (s *clustered) copying(g *guest) *underway {
	s.Helper()
	move := s.begin(s.a, "volbridge", "migrate", g.name, s.b.URI(), "--to-pool", "drbd", "--bandwidth", "1")
	move.until(func(line string) bool {
		m := copied.FindStringSubmatch(line)
		return m != nil && m[1] != "0"
	})
	return move
}

// recovered has both hosts clean up, once the source's QEMU has given up the copy.
// Nothing is left then but the guest.
func (s *clustered) recovered(g *guest) {
	s.Helper()
	// libvirt writes the description when no migration is under way, and waits for
	// that for a while.
	s.sh(s.a, `timeout 500 sh -c 'until virsh desc "$1" --live stayed >/dev/null 2>&1; do :; done' sh "$1"`, g.name)
	s.Log(s.on(s.b, "volbridge", "recover"))
	s.Log(s.on(s.a, "volbridge", "recover"))
	s.clean()
	s.noVolumes()
	s.noGuests(s.b)
	s.ticks(g)
}
