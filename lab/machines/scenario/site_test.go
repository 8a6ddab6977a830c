//go:build machines

package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/flash"
	"github.com/volbridge/volbridge/lab/machines/kvmhost"
	"github.com/volbridge/volbridge/lab/machines/machinestest"
)

const mib = 1 << 20

// site is two FlashArrays and two KVM hosts with volbridge. The programs are
// those that `make build` makes.
type site struct {
	*testing.T
	*machines.Lab
	a, b        *machines.Node
	flash, tank *flash.Running
	since       time.Time
}

func hostNQN(name string) string { return kvmhost.NQN(name) }

func startSite(t *testing.T) *site {
	s := &site{T: t, since: time.Now()}
	const source = kvmhost.Source("../../..")
	s.Lab = machinestest.Start(t, machines.Options{Machines: []machines.Machine{{Name: "array"}, source.Machine("kvm01"), source.Machine("kvm02")}})
	s.a, s.b = s.Node("kvm01"), s.Node("kvm02")
	s.phase("boot of three machines")
	s.flash, s.tank = s.array("flash1", "10.78.0.2"), s.array("tank1", "10.78.0.3")
	config := s.flash.PoolConfig("flash", "eradicate = true") + s.tank.PoolConfig("tank", "eradicate = true")
	for _, h := range s.hosts() {
		s.must(source.Install(s.Context(), h, config))
	}
	s.phase("arrays and installation")
	return s
}

func (s *site) hosts() []*machines.Node { return []*machines.Node{s.a, s.b} }

func (s *site) array(name, address string) *flash.Running {
	s.Helper()
	r, err := flash.Start(s.Context(), s.Lab, flash.Options{
		Options: flasharray.Options{Name: name}, Address: address, Data: s.Node("array"),
		Hosts: map[*machines.Node]string{s.a: hostNQN("kvm01"), s.b: hostNQN("kvm02")},
	})
	s.must(err)
	s.Cleanup(func() {
		if s.Failed() {
			for _, c := range r.Calls() {
				s.Log(name, c)
			}
		}
		s.must(r.Close())
	})
	return r
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// phase says how long what is done has taken.
func (s *site) phase(what string) {
	s.Helper()
	s.Logf("phase: %s: %.1f s", what, time.Since(s.since).Seconds())
	s.since = time.Now()
}

// stepTime is the deadline of each step: it ends what hangs. What a slow machine
// does in it, while three others boot beside it, is no failure.
const stepTime = 10 * time.Minute

// inTime gives a step its deadline.
func (s *site) inTime() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), stepTime)
	s.Cleanup(cancel)
	return ctx
}

func (s *site) on(h *machines.Node, args ...string) string {
	s.Helper()
	out, err := h.Run(s.inTime(), args[0], args[1:]...)
	s.must(err)
	return strings.TrimSpace(out)
}

func (s *site) sh(h *machines.Node, script string, args ...string) string {
	s.Helper()
	out, err := h.Shell(s.inTime(), script, args...)
	s.must(err)
	return strings.TrimSpace(out)
}

// refused runs what must fail, and fails unless the error says all of these.
func (s *site) refused(h *machines.Node, says []string, args ...string) {
	s.Helper()
	out, err := h.Run(s.inTime(), args[0], args[1:]...)
	if err == nil {
		s.Fatalf("%s: %s succeeded:\n%s", h.Name(), strings.Join(args, " "), out)
	}
	for _, text := range says {
		if !strings.Contains(out, text) {
			s.Errorf("%s: %s does not say %q:\n%s", h.Name(), strings.Join(args, " "), text, out)
		}
	}
	s.Logf("%s: refused as it must be: %s", h.Name(), out)
}

// guest is a tick guest and what it must have on its disk in the end.
type guest struct {
	name, uuid, serial, log string
}

func (s *site) guest(name string) *guest {
	s.Helper()
	serial, log, err := s.Serial(name)
	s.must(err)
	return &guest{name, uuid.NewString(), serial, log}
}

func (s *site) define(h *machines.Node, g *guest, disk string) {
	s.Helper()
	xml := lab.TickGuest{Name: g.name, UUID: g.uuid, Disks: []string{disk}, Serial: g.serial}.XML()
	s.must(h.WriteFile(s.inTime(), "/root/"+g.name+".xml", []byte(xml), 0o644))
	s.on(h, "virsh", "define", "/root/"+g.name+".xml")
}

// ticks fails unless the guest goes on counting.
func (s *site) ticks(g *guest) {
	s.Helper()
	_, err := lab.WaitMore(s.inTime(), g.log, 10)
	s.must(err)
}

// tickImage is a bootable image on a host.
func (s *site) tickImage(h *machines.Node, path, format string) {
	s.Helper()
	local := filepath.Join(s.TempDir(), "image")
	s.must(lab.WriteTickImage(s.Context(), local, format, 16*mib, 1))
	s.must(h.Copy(s.inTime(), local, path, 0o644))
}

// nguid of a volume.
func nguid(r *flash.Running, volume string) string {
	v, _ := r.Volume(volume)
	return flasharray.NGUID(v.Serial)
}

func device(r *flash.Running, volume string) string {
	return "/dev/disk/by-id/nvme-eui." + nguid(r, volume)
}

func namespace(r *flash.Running, volume string) flasharray.Namespace {
	v, _ := r.Volume(volume)
	return flasharray.Namespace{Serial: v.Serial, NGUID: flasharray.NGUID(v.Serial), SizeBytes: v.SizeBytes}
}

// seenBy fails unless exactly these hosts are connected to the volume and have
// its device.
func (s *site) seenBy(r *flash.Running, volume string, hosts ...*machines.Node) {
	s.Helper()
	v, there := r.Volume(volume)
	if !there {
		s.Fatalf("there is no volume %s", volume)
	}
	var want []string
	for _, h := range hosts {
		want = append(want, h.Name())
	}
	if got := fmt.Sprint(v.Hosts); got != fmt.Sprint(want) {
		s.Errorf("volume %s is connected to %v, want %v", volume, got, want)
	}
	for _, h := range s.hosts() {
		has := s.sh(h, `if [ -e "$1" ]; then echo yes; fi; grep -l "$2" /sys/class/nvme-subsystem/*/nvme*n*/nguid 2>/dev/null || true`,
			device(r, volume), dashed(nguid(r, volume))) != ""
		if has != strings.Contains(fmt.Sprint(want), h.Name()) {
			s.Errorf("%s: has volume %s: %v", h.Name(), volume, has)
		}
	}
}

// dashed is an NGUID as sysfs writes it.
func dashed(id string) string {
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// stop ends the guest and compares what it said with what is on its volume.
func (s *site) stop(h *machines.Node, g *guest, r *flash.Running, volume string) {
	s.Helper()
	s.on(h, "virsh", "destroy", g.name)
	node, err := r.Device(namespace(r, volume))
	s.must(err)
	local := filepath.Join(s.TempDir(), "disk")
	s.sh(s.Node("array"), `blockdev --flushbufs "$1"; dd if="$1" of=/root/disk bs=1M status=none`, node)
	s.must(s.Node("array").Fetch(s.inTime(), "/root/disk", local))
	count, err := lab.DiskTick(s.Context(), local, "raw")
	s.must(err)
	said, err := os.ReadFile(g.log)
	s.must(err)
	ticks, err := lab.CheckTicks(said, count)
	s.must(err)
	s.Logf("%s: %v", g.name, ticks)
}

// clean fails if anything of volbridge is left.
func (s *site) clean() {
	s.Helper()
	for _, r := range []*flash.Running{s.flash, s.tank} {
		if left := r.Connections(); len(left) > 0 {
			s.Errorf("connections left: %v", left)
		}
	}
	for _, h := range s.hosts() {
		if left := s.sh(h, "udevadm settle; ls /dev/disk/by-id 2>/dev/null | grep nvme- || true"); left != "" {
			s.Errorf("%s: devices left: %s", h.Name(), left)
		}
		if out := s.on(h, "volbridge", "recover", "--dry-run", "--output", "json"); !strings.Contains(out, "[]") {
			s.Errorf("%s: recover finds %s", h.Name(), out)
		}
	}
}

// controllers of a host, by name and portal.
func (s *site) controllers(h *machines.Node) string {
	s.Helper()
	return s.sh(h, `for c in /sys/class/nvme/nvme*; do [ ! -e "$c" ] || echo "${c##*/} $(cat "$c/address") $(cat "$c/hostnqn")"; done`)
}
