//go:build machines

package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/drbd"
	"github.com/volbridge/volbridge/lab/machines/kvmhost"
	"github.com/volbridge/volbridge/lab/machines/machinestest"
)

// replicated is two KVM hosts with volbridge and a DRBD resource of theirs.
type replicated struct {
	*site
	r drbd.Resource
	g *guest
}

const drbdPool = "[pool.data]\ntype = \"drbd\"\n"

// TestDRBD is the whole story on one pair of machines.
func TestDRBD(t *testing.T) {
	t.Parallel()
	s := startReplicated(t)
	for _, c := range []struct {
		name string
		run  func(*replicated)
	}{
		{"without volbridge the kernel refuses a move", kernelRefuses},
		{"a guest's life on a resource", replicatedLife},
		{"the destination fails after its hook", destinationFails},
		{"the destination fails at its start", destinationFailsLater},
		{"the hosts lose each other during a move", hostsPart},
		{"the destination dies during a move", destinationDies},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			sub := *s
			inner := *s.site
			inner.T, inner.since = t, time.Now()
			sub.site = &inner
			c.run(&sub)
			sub.settled()
			sub.phase(c.name)
		})
		if !ok {
			break // what it left would confuse the next
		}
	}
}

func startReplicated(t *testing.T) *replicated {
	s := &site{T: t, since: time.Now()}
	const source = kvmhost.Source("../../..")
	var hosts []machines.Machine
	for _, name := range []string{"kvm01", "kvm02"} {
		hosts = append(hosts, source.Machine(name))
	}
	s.Lab = machinestest.Start(t, machines.Options{Machines: hosts})
	s.a, s.b = s.Node("kvm01"), s.Node("kvm02")
	s.phase("boot of two machines")
	for _, h := range s.hosts() {
		s.must(source.Install(t.Context(), h, drbdPool))
	}
	r := &replicated{site: s, r: drbd.Resource{Name: "vm1", MiB: 17, Hosts: s.hosts()}}
	s.must(r.r.Create(t.Context()))
	r.image()
	r.g = s.guest("vm1")
	for _, h := range s.hosts() {
		s.define(h, r.g, lab.BlockDisk("vda", r.r.Path()))
	}
	s.phase("resource and installation")
	return r
}

// image puts the guest's disk onto the resource.
func (s *replicated) image() {
	s.Helper()
	s.tickImage(s.a, "/root/tick.raw", "raw")
	s.sh(s.a, `drbdadm primary "$1"; dd if=/root/tick.raw of="$2" bs=1M oflag=direct status=none; drbdadm secondary "$1"`, s.r.Name, s.r.Path())
}

// roles fails unless the hosts are so, "Primary/Secondary", as each of them sees
// it, and neither allows two Primaries.
func (s *replicated) roles(want string) {
	s.Helper()
	for i, h := range s.hosts() {
		got := s.noTwoPrimaries(h, s.r.Name)
		mine, other, _ := strings.Cut(want, "/")
		if i == 1 {
			mine, other = other, mine
		}
		if got != mine+"/"+other {
			s.Errorf("%s: roles %s, want %s/%s", h.Name(), got, mine, other)
		}
	}
}

// noTwoPrimaries fails if the kernel allows them. It returns the roles, "" where
// the host does not have the resource. One look for both: each is a while on an
// emulated machine.
func (s *site) noTwoPrimaries(h *machines.Node, resource string) (roles string) {
	s.Helper()
	out := s.sh(h, `if roles=$(drbdadm role "$1" 2>/dev/null); then echo "$roles"; drbdsetup show "$1"; fi`, resource)
	if strings.Contains(out, "allow-two-primaries") {
		s.Errorf("%s allows two primaries: %s", h.Name(), out)
	}
	roles, _, _ = strings.Cut(out, "\n")
	return roles
}

// settled fails if anything of volbridge is left, and the guest must be off.
func (s *replicated) settled() {
	s.Helper()
	s.roles("Secondary/Secondary")
	for _, h := range s.hosts() {
		if out := s.on(h, "volbridge", "recover", "--dry-run", "--output", "json"); !strings.Contains(out, "[]") {
			s.Errorf("%s: recover finds %s", h.Name(), out)
		}
		if state := s.on(h, "drbdadm", "dstate", s.r.Name); state != "UpToDate/UpToDate" {
			s.Errorf("%s: the replicas are %s", h.Name(), state)
		}
	}
}

// off destroys the guest and compares what it said with each replica.
func (s *replicated) off(h *machines.Node) {
	s.Helper()
	s.on(h, "virsh", "destroy", s.g.name)
	for _, h := range s.hosts() {
		s.sh(h, `drbdadm primary "$1"; dd if="$2" of=/root/disk bs=1M iflag=direct status=none; drbdadm secondary "$1"`, s.r.Name, s.r.Path())
		local := filepath.Join(s.TempDir(), "disk")
		s.must(h.Fetch(s.inTime(), "/root/disk", local))
		count, err := lab.DiskTick(s.Context(), local, "raw")
		s.must(err)
		said, err := os.ReadFile(s.g.log)
		s.must(err)
		ticks, err := lab.CheckTicks(said, count)
		s.must(err)
		s.Logf("%s on %s: %v", s.g.name, h.Name(), ticks)
	}
}

// kernelRefuses: what volbridge is for. Promoted by hand, the guest runs on
// one host, and QEMU on the other cannot open its disk.
func kernelRefuses(s *replicated) {
	for _, h := range s.hosts() {
		s.sh(h, `chmod -x "$1"`, kvmhost.HookFile)
	}
	s.on(s.a, "drbdadm", "primary", s.r.Name)
	s.on(s.a, "virsh", "start", s.g.name)
	s.ticks(s.g)
	s.refused(s.a, []string{s.r.Path()}, "virsh", "migrate", "--live", s.g.name, s.b.URI())
	s.ticks(s.g)
	s.roles("Primary/Secondary")
	s.on(s.a, "virsh", "destroy", s.g.name)
	s.on(s.a, "drbdadm", "secondary", s.r.Name)
	for _, h := range s.hosts() {
		s.sh(h, `chmod +x "$1"`, kvmhost.HookFile)
	}
	s.image() // the guest begins anew
	s.must(os.Truncate(s.g.log, 0))
}

// replicatedLife: plain virsh, to and fro five times.
func replicatedLife(s *replicated) {
	s.on(s.a, "virsh", "start", s.g.name)
	s.ticks(s.g)
	s.roles("Primary/Secondary")
	s.refused(s.b, []string{"data/vm1", "kvm01"}, "virsh", "start", s.g.name)
	s.phase("start")
	from, to, want := s.a, s.b, "Secondary/Primary"
	for range 5 {
		for range 2 {
			s.on(from, "virsh", "migrate", "--live", s.g.name, to.URI())
			s.roles(want)
			from, to = to, from
			if want = "Primary/Secondary"; from == s.a {
				want = "Secondary/Primary"
			}
		}
		s.ticks(s.g)
	}
	s.phase("ten migrations")
	s.refused(s.b, []string{"data/vm1", "kvm01"}, "virsh", "start", s.g.name)
	s.off(s.a)
}

// saboteur is a hook on the destination that runs after volbridge's, at one
// operation of libvirt.
func (s *replicated) saboteur(operation, script string) {
	s.Helper()
	s.must(s.b.WriteFile(s.inTime(), "/etc/libvirt/hooks/qemu.d/90-saboteur",
		[]byte("#!/bin/sh\n[ \"$2\" = "+operation+" ] || exit 0\n"+script+"\n"), 0o755))
}

func (s *replicated) noSaboteur() {
	s.Helper()
	s.on(s.b, "rm", "/etc/libvirt/hooks/qemu.d/90-saboteur")
}

// fails starts the guest and lets its move fail.
func (s *replicated) fails() {
	s.Helper()
	s.on(s.a, "virsh", "start", s.g.name)
	s.ticks(s.g)
	s.refused(s.a, nil, "virsh", "migrate", "--live", s.g.name, s.b.URI())
	s.ticks(s.g)
}

// destinationFails: after the hook at "migrate" nothing more is called, so only
// recovery knows.
func destinationFails(s *replicated) {
	s.saboteur("migrate", "echo sabotage >&2; exit 1")
	s.fails()
	s.noSaboteur()
	s.roles("Primary/Secondary") // and two primaries were never allowed
	s.Log(s.on(s.b, "volbridge", "recover", "--pending-older-than", "0s"))
	s.roles("Primary/Secondary")
	s.ticks(s.g)
	s.on(s.a, "virsh", "migrate", "--live", s.g.name, s.b.URI())
	s.ticks(s.g)
	s.off(s.b)
}

// destinationFailsLater: the destination's own release puts everything back.
func destinationFailsLater(s *replicated) {
	const seen = "/run/two-primaries"
	s.saboteur("start", "drbdsetup show "+s.r.Name+" | grep -q allow-two-primaries && : >"+seen+"\necho sabotage >&2; exit 1")
	s.fails()
	s.noSaboteur()
	s.on(s.b, "rm", seen) // both were Primary just then
	s.roles("Primary/Secondary")
	s.ticks(s.g)
	s.off(s.a)
}

// hostsPart: the hosts lose each other while both are Primary, for replication
// and for libvirt.
func hostsPart(s *replicated) {
	s.saboteur("start", routes("add", s.a))
	s.fails()
	s.noSaboteur()
	s.ended(s.b, s.g)
	s.Log(s.on(s.a, "volbridge", "recover"))
	s.noTwoPrimaries(s.a, s.r.Name)
	s.Log(s.on(s.b, "volbridge", "recover", "--pending-older-than", "0s"))
	s.noTwoPrimaries(s.b, s.r.Name)
	s.ticks(s.g)
	s.sh(s.b, routes("del", s.a))
	s.joined()
	s.roles("Primary/Secondary")
	s.off(s.a)
}

// routes is what a host does to lose another one on all networks ("add"), or to
// have it back ("del"). Nobody is told, as where a switch fails.
func routes(verb string, other *machines.Node) string {
	var lines []string
	for _, address := range []string{other.Address(), other.Portal(1), other.Portal(2)} {
		lines = append(lines, "ip route "+verb+" blackhole "+address)
	}
	return strings.Join(lines, "\n")
}

// ended returns once the guest's QEMU on a host has ended and libvirt has
// cleaned up after it: until then it answers nobody.
func (s *site) ended(h *machines.Node, g *guest) {
	s.Helper()
	s.sh(h, `if pid=$(cat /run/libvirt/qemu/"$1".pid 2>/dev/null); then timeout 500 tail --pid="$pid" -f /dev/null; fi; virsh list`, g.name)
}

// destinationDies: its power goes while both are Primary. It boots while the
// source is finding out; its resource stays down until the source has recovered.
func destinationDies(s *replicated) {
	s.saboteur("start", "rm /etc/libvirt/hooks/qemu.d/90-saboteur; sync; echo b >/proc/sysrq-trigger")
	s.on(s.a, "virsh", "start", s.g.name)
	s.ticks(s.g)
	move := s.begin(s.a, "virsh", "migrate", "--live", s.g.name, s.b.URI())
	_ = s.b.Command(s.inTime(), "sleep", "infinity").Run() // ends with the machine
	s.must(s.b.Reset(s.inTime()))
	move.refused()
	s.ticks(s.g)
	s.Log(s.on(s.a, "volbridge", "recover"))
	s.noTwoPrimaries(s.a, s.r.Name)
	s.ticks(s.g)
	s.must(s.r.Up(s.Context(), s.b))
	s.Log(s.on(s.b, "volbridge", "recover"))
	s.joined()
	s.roles("Primary/Secondary")
	s.ticks(s.g)
	s.on(s.a, "virsh", "migrate", "--live", s.g.name, s.b.URI())
	s.ticks(s.g)
	s.off(s.b)
}

// joined returns once both hosts are connected and equal.
func (s *replicated) joined() {
	s.Helper()
	for _, h := range s.hosts() {
		s.must(s.r.Connected(s.Context(), h))
		s.must(s.r.Equal(s.Context(), h))
	}
}
