//go:build machines

package scenario

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/machines"
)

// TestFlashArray is the whole story on one set of machines, because booting
// them takes most of a minute.
func TestFlashArray(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	for _, c := range []struct {
		name string
		run  func(*site)
	}{
		{"a guest's life on a volume", life},
		{"a file onto an array, and onto another array", ontoArrays},
		{"a portal is cut", portalCut},
		{"an array that sends no events", deaf},
		{"a namespace with a UUID", withUUID},
		{"another volume behind the namespace", swapped},
		{"controllers of somebody else", foreignControllers},
		{"the transport by itself", transport},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			sub := *s
			sub.T, sub.since = t, time.Now()
			c.run(&sub)
			sub.clean()
			sub.phase(c.name)
		})
		if !ok {
			break // what it left would confuse the next
		}
	}
}

// life: created from an image, started with plain virsh, moved to and fro five
// times, and nothing is left when it stops.
func life(s *site) {
	s.tickImage(s.a, "/root/tick.qcow2", "qcow2")
	s.on(s.a, "volbridge", "volume", "create", "flash/vm1", "--from", "/root/tick.qcow2", "--compare")
	s.seenBy(s.flash, "vm1")
	s.phase("volume from an image")
	g := s.guest("vm1")
	s.define(s.a, g, lab.BlockDisk("vda", device(s.flash, "vm1")))
	s.define(s.b, g, lab.BlockDisk("vda", device(s.flash, "vm1")))
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	s.seenBy(s.flash, "vm1", s.a)
	s.refused(s.b, []string{"flash/vm1", "kvm01", "vm1"}, "virsh", "start", g.name)
	s.phase("start")
	from, to := s.a, s.b
	for range 5 {
		for range 2 {
			s.on(from, "virsh", "migrate", "--live", g.name, to.URI())
			s.seenBy(s.flash, "vm1", to)
			from, to = to, from
		}
		s.ticks(g)
	}
	s.phase("ten migrations")
	s.stop(s.a, g, s.flash, "vm1")
	s.seenBy(s.flash, "vm1")
	s.on(s.a, "virsh", "undefine", g.name)
	s.on(s.b, "virsh", "undefine", g.name)
	s.on(s.a, "volbridge", "volume", "delete", "--yes", "flash/vm1")
}

// ontoArrays: one command moves a running guest from a file onto an array, and
// from there onto another array.
func ontoArrays(s *site) {
	s.tickImage(s.a, "/var/lib/libvirt/images/vm2.qcow2", "qcow2")
	g := s.guest("vm2")
	s.define(s.a, g, lab.FileDisk("vda", "qcow2", "/var/lib/libvirt/images/vm2.qcow2"))
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	s.Log(s.on(s.a, "volbridge", "migrate", g.name, s.b.URI(), "--to-pool", "flash"))
	s.ticks(g)
	s.seenBy(s.flash, "vm2-vda", s.b)
	s.phase("file onto an array")
	s.Log(s.on(s.b, "volbridge", "migrate", g.name, s.a.URI(), "--to-pool", "tank"))
	s.ticks(g)
	s.seenBy(s.flash, "vm2-vda")
	s.seenBy(s.tank, "vm2-vda", s.a)
	s.phase("array onto array")
	s.stop(s.a, g, s.tank, "vm2-vda")
	s.on(s.a, "virsh", "undefine", g.name)
}

// newGuest makes a guest on a new volume of pool flash and starts it on kvm01.
func (s *site) newGuest(name string) *guest {
	s.Helper()
	s.tickImage(s.a, "/root/tick.raw", "raw")
	s.on(s.a, "volbridge", "volume", "create", "flash/"+name, "--from", "/root/tick.raw")
	g := s.guest(name)
	s.define(s.a, g, lab.BlockDisk("vda", device(s.flash, name)))
	return g
}

// portalCut: a portal is lost while the guest moves; the other carries on.
func portalCut(s *site) {
	g := s.newGuest("vm3")
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	s.must(s.b.CutLink(s.inTime(), 1))
	s.on(s.a, "virsh", "migrate", "--live", "--persistent", g.name, s.b.URI())
	s.ticks(g)
	s.seenBy(s.flash, "vm3", s.b)
	s.must(s.b.JoinLink(s.inTime(), 1))
	s.must(s.a.CutLink(s.inTime(), 2))
	s.on(s.b, "virsh", "migrate", "--live", "--undefinesource", g.name, s.a.URI())
	s.ticks(g)
	s.must(s.a.JoinLink(s.inTime(), 2))
	s.stop(s.a, g, s.flash, "vm3")
	s.seenBy(s.flash, "vm3")
	s.on(s.a, "virsh", "undefine", g.name)
	s.reconnected(s.a)
	s.reconnected(s.b)
}

// reconnected returns when all of a host's controllers are live: looked at now,
// and whenever its kernel says something.
func (s *site) reconnected(h *machines.Node) {
	s.Helper()
	s.on(h, "bash", "-c", `exec 3< <(exec journalctl --dmesg --follow 2>/dev/null); journal=$!
		while read -r -t 90 -u 3 line; do
			grep -qv live /sys/class/nvme/nvme*/state || { kill $journal; exit 0; }
		done
		kill $journal; grep . /sys/class/nvme/nvme*/state; exit 1`)
}

// deaf: the hosts hear nothing of what changes on the array; only a rescan
// shows it.
func deaf(s *site) {
	for _, h := range s.hosts() {
		s.must(h.MaskEvents(s.inTime()))
	}
	g := s.newGuest("vm4")
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	s.on(s.a, "virsh", "migrate", "--live", g.name, s.b.URI())
	s.ticks(g)
	s.seenBy(s.flash, "vm4", s.b)
	s.on(s.b, "virsh", "migrate", "--live", g.name, s.a.URI())
	s.stop(s.a, g, s.flash, "vm4")
	s.seenBy(s.flash, "vm4")
	s.on(s.a, "virsh", "undefine", g.name)
	s.hear()
}

// hear undoes MaskEvents: a controller that connects anew listens.
func (s *site) hear() {
	s.Helper()
	for _, h := range s.hosts() {
		s.sh(h, `for c in /sys/class/nvme/nvme*; do echo 1 >"$c/reset_controller"; done`)
	}
}

// withUUID: the kernel prefers a UUID, so that udev alone makes no link by
// NGUID.
func withUUID(s *site) {
	g := s.newGuest("vm5")
	s.flash.SetUUID(namespace(s.flash, "vm5").Serial, "0a1b2c3d-0000-4000-8000-000000000005")
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	if links := s.sh(s.a, "ls /dev/disk/by-id"); !strings.Contains(links, "nvme-uuid.0a1b2c3d") || !strings.Contains(links, nguid(s.flash, "vm5")) {
		s.Errorf("links: %s", links)
	}
	s.stop(s.a, g, s.flash, "vm5")
	s.seenBy(s.flash, "vm5")
	s.on(s.a, "virsh", "undefine", g.name)
}

// swapped: the target shows another volume at the NSID that the host knows the
// volume by. It is handed to nobody, and not written.
func swapped(s *site) {
	g := s.newGuest("vm6")
	s.on(s.a, "volbridge", "volume", "create", "flash/other", "--size", "16MiB")
	was, is := namespace(s.flash, "vm6"), namespace(s.flash, "other")
	other, err := s.flash.Device(is)
	s.must(err)
	sum := func() string { return s.sh(s.Node("array"), `blockdev --flushbufs "$1"; sha256sum <"$1"`, other) }
	before := sum()

	// At the start the host knows the volume already, and is not told.
	s.connect(s.a)
	s.must(s.flash.Connect("kvm01", "vm6"))
	s.sh(s.a, `udevadm wait --timeout=300 "$1"`, device(s.flash, "vm6"))
	s.must(s.a.MaskEvents(s.inTime()))
	s.must(s.flash.Swap(hostNQN("kvm01"), was, is))
	s.refused(s.a, []string{"flash/vm6", "kvm01", is.NGUID, was.NGUID}, "virsh", "start", g.name)
	s.must(s.flash.Swap(hostNQN("kvm01"), was, was))
	s.must(s.flash.Disconnect("kvm01", "vm6"))
	s.sh(s.a, `for c in /sys/class/nvme/nvme*; do echo 1 >"$c/rescan_controller"; done; udevadm wait --timeout=300 --removed "$1"`, device(s.flash, "vm6"))
	s.phase("refused at the start")

	// On the way to another host.
	s.connect(s.b)
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	s.must(s.flash.Connect("kvm02", "vm6"))
	s.sh(s.b, `udevadm wait --timeout=300 "$1"`, device(s.flash, "vm6"))
	s.must(s.b.MaskEvents(s.inTime()))
	s.must(s.flash.Swap(hostNQN("kvm02"), was, is))
	s.refused(s.a, []string{"flash/vm6", "kvm02", is.NGUID, was.NGUID}, "volbridge", "migrate", g.name, s.b.URI())
	// By now the host has looked again, and its kernel shows no such namespace.
	s.refused(s.a, []string{"flash/vm6", "kvm02", was.NGUID}, "virsh", "migrate", "--live", g.name, s.b.URI())
	s.ticks(g)
	s.must(s.flash.Swap(hostNQN("kvm02"), was, was))
	s.must(s.flash.Disconnect("kvm02", "vm6"))
	s.sh(s.b, `for c in /sys/class/nvme/nvme*; do echo 1 >"$c/rescan_controller"; done; udevadm wait --timeout=300 --removed "$1"`, device(s.flash, "vm6"))
	s.stop(s.a, g, s.flash, "vm6")
	s.on(s.a, "virsh", "undefine", g.name)
	if after := sum(); after != before {
		s.Error("the other volume was written")
	}
	s.hear()
}

// transport runs the tests that package blockdev has for a real kernel, on a
// host that is its own target.
func transport(s *site) {
	binary := filepath.Join(s.TempDir(), "blockdev.test")
	build := exec.CommandContext(s.inTime(), "go", "test", "-c", "-tags", "machines", "-o", binary, "../../../blockdev")
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("%v\n%s", err, out)
	}
	s.must(s.b.Copy(s.inTime(), binary, "/root/blockdev.test", 0o755))
	const rule = "/usr/lib/udev/rules.d/60-volbridge.rules"
	s.sh(s.b, `nvme disconnect-all; mv "$1" /root/; udevadm control --reload`, rule)
	out := s.sh(s.b, `VOLBRIDGE_NVMET=/root/60-volbridge.rules CI=true /root/blockdev.test -test.run Machine -test.v 2>&1`)
	if strings.Contains(out, "SKIP") {
		s.Error("a test was skipped")
	}
	s.Log(out)
	s.sh(s.b, `mv /root/60-volbridge.rules "$1"; udevadm control --reload`, rule)
}

// connect connects a host to the first array by hand, if it is not.
func (s *site) connect(h *machines.Node) {
	s.Helper()
	s.sh(h, `modprobe nvme-tcp; grep -qs "$2" /sys/class/nvme/nvme*/subsysnqn ||
		nvme connect -t tcp -a "$1" -s 4420 -n "$2" --hostnqn="$3" --ctrl-loss-tmo=600`,
		s.Node("array").Portal(1), s.flash.SubsystemNQN(hostNQN(h.Name())), hostNQN(h.Name()))
}

// foreignControllers: somebody connected this host to the array before, by the
// same name and by another. Both stay as they are.
func foreignControllers(s *site) {
	s.sh(s.a, "nvme disconnect-all")
	s.connect(s.a)
	before := s.controllers(s.a)
	g := s.newGuest("vm7")
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	s.stop(s.a, g, s.flash, "vm7")
	s.on(s.a, "virsh", "undefine", g.name)
	after := s.controllers(s.a)
	if !strings.Contains(after, before) {
		s.Errorf("controllers before:\n%s\nafter:\n%s", before, after)
	}
	if !strings.Contains(after, s.Node("array").Portal(2)) {
		s.Errorf("volbridge did not connect to the other portal: %s", after)
	}
}
