//go:build machines

package machines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/machines/nvmet"
)

// TestFabric runs on one array with two KVM hosts: what the kernel, udev and
// libvirt do there is what volbridge has to build on.
func TestFabric(t *testing.T) {
	f := startFabric(t)
	for _, one := range []struct {
		name string
		test func(*fabric)
	}{
		{"live migration", testLiveMigration},
		{"events", testEvents},
		{"resize", testResize},
		{"swap", testSwap},
		{"uuid", testUUID},
		{"reset", testReset},
	} {
		ok := t.Run(one.name, func(t *testing.T) {
			g := *f
			g.t, g.since = t, time.Now()
			one.test(&g)
		})
		if !ok {
			return // what it has left would be in the next one's way
		}
	}
}

func namespace(nsid uint32, device, nguid string) nvmet.Namespace {
	return nvmet.Namespace{NSID: nsid, Path: device, NGUID: nguid}
}

func (f *fabric) mapped(name string, ns nvmet.Namespace) {
	f.t.Helper()
	f.target(nvmet.Order{Do: nvmet.Map, Host: hostNQN(name), Namespace: ns})
}

func (f *fabric) unmapped(name string, ns nvmet.Namespace) {
	f.t.Helper()
	f.target(nvmet.Order{Do: nvmet.Unmap, Host: hostNQN(name), Namespace: ns})
}

// testLiveMigration moves a guest over the fabric, and cuts a portal under it.
func testLiveMigration(f *fabric) {
	device := f.volume("moving", 1)
	ns := namespace(7, device, nguid)
	f.phase("volume")
	f.mapped("kvm01", ns)
	f.appears("kvm01", link(nguid))
	f.phase("namespace on kvm01")
	log := f.guest("kvm01", link(nguid))
	f.ticks(log, 5)
	f.phase("guest counts")

	f.mapped("kvm02", ns)
	f.appears("kvm02", link(nguid))
	f.sh("kvm01", "virsh migrate --live --persistent --undefinesource tick qemu+tcp://kvm02/system")
	f.phase("live migration")
	f.ticks(log, 5)
	f.phase("guest counts on kvm02")
	f.unmapped("kvm01", ns)
	f.goes("kvm01", link(nguid))
	f.phase("namespace gone from kvm01")

	// Whichever portal the guest's reads and writes take, one of the cuts is
	// theirs.
	for portal := 1; portal <= 2; portal++ {
		f.cut("kvm02", portal)
		f.phase(fmt.Sprintf("portal %d cut, and noticed", portal))
		f.ticks(log, 20)
		f.phase("guest counts without it")
		f.join("kvm02", portal)
		f.phase("connected again")
	}
	f.sh("kvm02", "virsh destroy tick && virsh undefine tick")
	f.checkDisk(log, device)
	f.unmapped("kvm02", ns)
	f.goes("kvm02", link(nguid))
}

// testEvents shows that a host without events needs a rescan.
func testEvents(f *fabric) {
	ns := namespace(8, f.volume("silent", 2), nguid)
	f.deaf("kvm01")
	defer f.hears("kvm01")
	f.mapped("kvm01", ns)
	if seen := f.links("kvm01"); strings.Contains(seen, nguid) {
		f.t.Errorf("seen without an event: %s", seen)
	}
	f.rescan("kvm01")
	f.appears("kvm01", link(nguid))
	f.unmapped("kvm01", ns)
	if seen := f.links("kvm01"); !strings.Contains(seen, nguid) {
		f.t.Errorf("gone without an event: %s", seen)
	}
	f.rescan("kvm01")
	f.goes("kvm01", link(nguid))
}

// testResize shows that a host's device grows by itself once the target knows.
func testResize(f *fabric) {
	ns := namespace(9, f.volume("growing", 3), nguid)
	f.mapped("kvm01", ns)
	f.appears("kvm01", link(nguid))
	f.sh("array", `truncate -s 32M /var/lib/array/growing; losetup --set-capacity "$1"`, ns.Path)
	f.kernelSays("kvm01", "detected capacity change from 32768 to 65536", func() {
		f.target(nvmet.Order{Do: nvmet.Resized, Host: hostNQN("kvm01"), Namespace: ns})
	})
	f.unmapped("kvm01", ns)
	f.goes("kvm01", link(nguid))
}

// testSwap puts another volume behind a namespace that a host has.
func testSwap(f *fabric) {
	one, two := namespace(10, f.volume("one", 4), nguid), namespace(10, f.volume("two", 5), otherNGUID)
	f.mapped("kvm01", one)
	f.appears("kvm01", link(nguid))
	before := f.content("kvm01", link(nguid))

	f.deaf("kvm01")
	defer f.hears("kvm01")
	f.target(nvmet.Order{Do: nvmet.Swap, Host: hostNQN("kvm01"), Namespace: two})
	if told := f.sh("kvm01", `udevadm settle; tr -d - <"/sys/block/$(basename "$(readlink -f "$1")")/nguid"`, link(nguid)); strings.TrimSpace(told) != nguid {
		f.t.Errorf("sysfs noticed the swap: %s", told)
	}
	if truth := f.sh("kvm01", `nvme id-ns "$1" | grep nguid`, link(nguid)); !strings.Contains(truth, otherNGUID) {
		f.t.Errorf("Identify says %s, want %s", truth, otherNGUID)
	}
	if f.content("kvm01", link(nguid)) == before {
		f.t.Error("the old volume is still read after the swap")
	}

	// The first rescan drops the old namespace from each controller, the second
	// shows the new one.
	f.rescan("kvm01")
	f.rescan("kvm01")
	f.goes("kvm01", link(nguid))
	f.appears("kvm01", link(otherNGUID))
	f.unmapped("kvm01", two)
	f.rescan("kvm01")
	f.goes("kvm01", link(otherNGUID))
}

// testUUID shows which link a namespace with a UUID and an NGUID gets.
func testUUID(f *fabric) {
	ns := namespace(11, f.volume("named", 6), nguid)
	ns.UUID = "11111111-2222-3333-4444-555555555555"
	f.mapped("kvm01", ns)
	f.appears("kvm01", "/dev/disk/by-id/nvme-uuid."+ns.UUID)
	if seen := f.links("kvm01"); strings.Contains(seen, "nvme-eui") {
		f.t.Errorf("a namespace with a UUID has a link by its NGUID: %s", seen)
	}
	f.unmapped("kvm01", ns)
	f.goes("kvm01", "/dev/disk/by-id/nvme-uuid."+ns.UUID)
}

// testReset cuts a KVM host's power: libvirt runs again, and what the array
// still shows is there once the host connects.
func testReset(f *fabric) {
	ns := namespace(12, f.volume("lasting", 7), nguid)
	f.mapped("kvm01", ns)
	f.appears("kvm01", link(nguid))
	if err := f.Node("kvm01").Reset(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.phase("reset")
	f.sh("kvm01", "virsh list")
	f.connect("kvm01")
	f.appears("kvm01", link(nguid))
	f.unmapped("kvm01", ns)
	f.goes("kvm01", link(nguid))
}

// checkDisk compares what the guest said with what is on the array.
func (f *fabric) checkDisk(log, device string) {
	f.t.Helper()
	local := filepath.Join(f.t.TempDir(), "disk")
	f.sh("array", `blockdev --flushbufs "$1"; dd if="$1" of=/root/disk bs=1M status=none`, device)
	if err := f.Node("array").Fetch(f.inTime(), "/root/disk", local); err != nil {
		f.t.Fatal(err)
	}
	count, err := lab.DiskTick(f.t.Context(), local, "raw")
	if err != nil {
		f.t.Fatal(err)
	}
	said, err := os.ReadFile(log)
	if err != nil {
		f.t.Fatal(err)
	}
	ticks, err := lab.CheckTicks(said, count)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Logf("the guest counted to %d, its disk says %d", ticks.Last, count)
}
