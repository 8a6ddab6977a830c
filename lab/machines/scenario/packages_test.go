//go:build machines

package scenario

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/kvmhost"
	"github.com/volbridge/volbridge/lab/machines/machinestest"
)

// packaged is a site of hosts on which AppArmor is enforced, libvirt confines
// each guest, and volbridge comes and goes as a package while guests run.
type packaged struct {
	*site
	source kvmhost.Source
	files  map[*machines.Node]string // of each host before the first installation
}

// TestPackages is the life of the package on a pair of hosts.
func TestPackages(t *testing.T) {
	t.Parallel()
	s := startPackaged(t)
	for _, c := range []struct {
		name string
		run  func(*packaged)
	}{
		{"the first hook", (*packaged).install},
		{"a guest's life under AppArmor", (*packaged).confined},
		{"upgraded while a guest moves", (*packaged).upgraded},
		{"the recovery service", (*packaged).recovers},
		{"removed while a volume is attached", (*packaged).removed},
		{"purged", (*packaged).purged},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			sub, inner := *s, *s.site
			inner.T, inner.since = t, time.Now()
			sub.site = &inner
			c.run(&sub)
			sub.noDenials()
			sub.phase(c.name)
		})
		if !ok {
			break // what it left would confuse the next
		}
	}
}

func startPackaged(t *testing.T) *packaged {
	s := &packaged{site: &site{T: t, since: time.Now()}, source: "../../..", files: map[*machines.Node]string{}}
	confined := func(name string) machines.Machine {
		m := s.source.Machine(name)
		m.AppArmor = true
		return m
	}
	s.Lab = machinestest.Start(t, machines.Options{Machines: []machines.Machine{{Name: "array"}, confined("kvm01"), confined("kvm02")}})
	s.a, s.b = s.Node("kvm01"), s.Node("kvm02")
	s.phase("boot of three machines")
	s.flash = s.array("flash1", "10.78.0.2")
	for _, h := range s.hosts() {
		s.sh(h, `sed -i 's/^security_driver.*/security_driver = "apparmor"/' /etc/libvirt/qemu.conf; systemctl restart libvirtd; virsh uri`)
		if loaded := s.sh(h, `cat /sys/kernel/security/apparmor/profiles`); !strings.Contains(loaded, "libvirtd (enforce)") {
			s.Fatalf("%s: AppArmor does not confine libvirtd: %s", h.Name(), loaded)
		}
		s.files[h] = s.tree(h)
	}
	s.phase("libvirt under AppArmor")
	return s
}

// tree lists what packages, programs and people put onto a host.
func (s *packaged) tree(h *machines.Node) string {
	s.Helper()
	return s.sh(h, `find /etc /usr /var/lib /opt /srv /root -xdev \( -path /var/lib/dpkg -o -path /var/lib/libvirt -o -path /etc/libvirt/qemu \
		-o -path /etc/apparmor.d/libvirt -o -path '*/__pycache__' \) -prune -o -print | LC_ALL=C sort; find /run -xdev -path '*volbridge*'`)
}

// dpkg installs a package, the previous one if old, and returns what was said.
func (s *packaged) dpkg(h *machines.Node, below string) string {
	s.Helper()
	deb, err := s.source.Package(below)
	s.must(err)
	s.must(h.Copy(s.inTime(), deb, "/root/volbridge.deb", 0o644))
	return s.sh(h, `dpkg --install /root/volbridge.deb 2>&1; rm /root/volbridge.deb`)
}

// pid of the only process of this name.
func (s *packaged) pid(h *machines.Node, name string) string {
	s.Helper()
	return s.sh(h, `pidof -s "$1"`, name)
}

// install: a daemon that has never seen a hook calls the new one, and its guest
// runs on.
func (s *packaged) install() {
	for _, h := range s.hosts() {
		g := s.guest("bystander-" + h.Name())
		s.tickImage(h, "/var/lib/libvirt/images/"+g.name+".raw", "raw")
		s.define(h, g, lab.FileDisk("vda", "raw", "/var/lib/libvirt/images/"+g.name+".raw"))
		s.on(h, "virsh", "start", g.name)
		s.ticks(g)
		daemon, guest := s.pid(h, "libvirtd"), s.pid(h, "qemu-system-x86_64")
		s.Log(s.dpkg(h, "previous"))
		s.must(h.WriteFile(s.inTime(), "/etc/volbridge/volbridge.toml", []byte(s.flash.PoolConfig("flash", "eradicate = true")+kvmhost.Timeouts), 0o600))
		if now := s.pid(h, "libvirtd"); now != daemon {
			s.Errorf("%s: libvirtd was process %s and is %s: the installation has restarted it", h.Name(), daemon, now)
		}
		if now := s.pid(h, "qemu-system-x86_64"); now != guest {
			s.Errorf("%s: QEMU was process %s and is %s", h.Name(), guest, now)
		}
		s.ticks(g)
		s.on(h, "virsh", "destroy", g.name)
		s.on(h, "virsh", "undefine", g.name)
		s.sh(h, `rm /var/lib/libvirt/images/*; systemctl is-active volbridge-recover.timer; systemctl stop volbridge-recover.timer`)
	}
}

func (s *packaged) volume(name string) *guest {
	s.Helper()
	s.tickImage(s.a, "/root/tick.raw", "raw")
	s.on(s.a, "volbridge", "volume", "create", "flash/"+name, "--from", "/root/tick.raw")
	s.sh(s.a, `rm /root/tick.raw`)
	g := s.guest(name)
	for _, h := range s.hosts() {
		s.define(h, g, lab.BlockDisk("vda", device(s.flash, name)))
		s.sh(h, `rm /root/*.xml`)
	}
	return g
}

// confined: start, move and stop while libvirtd and QEMU may only do what their
// profiles say.
func (s *packaged) confined() {
	g := s.volume("vm1")
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	if who := s.sh(s.a, `cat /proc/$(pidof -s qemu-system-x86_64)/attr/apparmor/current`); who != "libvirt-"+g.uuid+" (enforce)" {
		s.Errorf("QEMU is confined as %q", who)
	}
	s.refused(s.b, []string{"flash/vm1", "kvm01"}, "virsh", "start", g.name)
	s.on(s.a, "virsh", "migrate", "--live", "--persistent", g.name, s.b.URI())
	s.ticks(g)
	s.seenBy(s.flash, "vm1", s.b)
	s.on(s.b, "virsh", "migrate", "--live", "--persistent", g.name, s.a.URI())
	s.ticks(g)
	s.seenBy(s.flash, "vm1", s.a)
	s.stop(s.a, g, s.flash, "vm1")
	s.seenBy(s.flash, "vm1")
	for _, h := range s.hosts() {
		s.on(h, "virsh", "undefine", g.name)
	}
	s.on(s.a, "volbridge", "volume", "delete", "--yes", "flash/vm1")
}

// upgraded: both hosts get the new package while a guest moves from one to the
// other; configuration and guest stay.
func (s *packaged) upgraded() {
	g := s.volume("vm2")
	s.on(s.a, "virsh", "start", g.name)
	s.ticks(g)
	config := s.sh(s.a, `echo '# mine' >>/etc/volbridge/volbridge.toml; sha256sum </etc/volbridge/volbridge.toml`)
	moved := make(chan error, 1)
	migrate := s.a.Command(s.inTime(), "virsh", "migrate", "--live", "--persistent", g.name, s.b.URI())
	go func() { moved <- migrate.Run() }()
	for _, h := range s.hosts() {
		s.Log(s.dpkg(h, ""))
	}
	s.must(<-moved)
	s.ticks(g)
	s.seenBy(s.flash, "vm2", s.b)
	for _, h := range s.hosts() {
		deb, err := s.source.Package("")
		s.must(err)
		if v := s.sh(h, `dpkg-query --show --showformat '${Package}_${Version}_${Architecture}.deb' volbridge`); v != filepath.Base(deb) {
			s.Errorf("%s: after the upgrade volbridge is %s, want %s", h.Name(), v, filepath.Base(deb))
		}
		s.sh(h, `systemctl is-active volbridge-recover.timer; systemctl stop volbridge-recover.timer`)
	}
	if now := s.sh(s.a, `sha256sum </etc/volbridge/volbridge.toml`); now != config {
		s.Error("the upgrade has changed the configuration")
	}
	s.on(s.b, "virsh", "migrate", "--live", "--persistent", g.name, s.a.URI())
	s.seenBy(s.flash, "vm2", s.a)
	s.ticks(g)
	s.stop(s.a, g, s.flash, "vm2")
}

// recovers: what a guest left while the hook could not run is returned by the
// service, within all that it is not allowed to do, and node_exporter may read what
// it says of it.
func (s *packaged) recovers() {
	const textfiles = "/var/lib/prometheus/node-exporter"
	s.on(s.a, "mkdir", "-p", textfiles)
	s.on(s.a, "virsh", "start", "vm2")
	s.sh(s.a, `chmod -x "$1"; virsh destroy vm2; chmod +x "$1"`, kvmhost.HookFile)
	s.seenBy(s.flash, "vm2", s.a)
	s.sh(s.a, `systemctl start volbridge-recover.service`)
	s.seenBy(s.flash, "vm2")
	if out := s.on(s.a, "volbridge", "recover", "--dry-run", "--output", "json"); out != "[]" {
		s.Errorf("the service has left %s", out)
	}
	told := s.sh(s.a, `stat -c %A "$1"/*; cat "$1"/volbridge.prom; rm -r /var/lib/prometheus`, textfiles)
	for _, want := range []string{"-rw-r--r--", "volbridge_findings_known 1", `volbridge_pool_call_duration_seconds_count{pool="flash",result="ok"}`} {
		if !strings.Contains(told, want) {
			s.Errorf("the service's metrics do not say %q: %s", want, told)
		}
	}
}

// removed: a warning names what is attached, the guest runs on, and the package
// that comes back returns it.
func (s *packaged) removed() {
	s.on(s.a, "virsh", "start", "vm2")
	said := s.sh(s.a, `dpkg --remove volbridge 2>&1`)
	for _, want := range []string{"warning", "flash/vm2", "volbridge recover"} {
		if !strings.Contains(said, want) {
			s.Errorf("the removal does not say %q: %s", want, said)
		}
	}
	if state := s.on(s.a, "virsh", "domstate", "vm2"); state != "running" {
		s.Errorf("the guest is %s", state)
	}
	s.on(s.a, "virsh", "destroy", "vm2")
	s.seenBy(s.flash, "vm2", s.a)
	s.Log(s.dpkg(s.a, ""))
	s.sh(s.a, `systemctl start volbridge-recover.service`)
	s.seenBy(s.flash, "vm2")
}

// hostID is the host's id towards every array, and other programs use it too: it
// stays when one of them goes.
const hostID = "/etc/nvme/hostid"

// purged: nothing is left that was not there before.
func (s *packaged) purged() {
	s.on(s.a, "volbridge", "volume", "delete", "--yes", "flash/vm2")
	for _, h := range s.hosts() {
		s.on(h, "virsh", "undefine", "vm2")
		s.Log(s.sh(h, `dpkg --purge volbridge 2>&1`))
		before := map[string]bool{}
		for line := range strings.Lines(s.files[h]) {
			before[strings.TrimSpace(line)] = true
		}
		for line := range strings.Lines(s.tree(h)) {
			file := strings.TrimSpace(line)
			if !before[file] && file != hostID {
				s.Errorf("%s: left: %s", h.Name(), file)
			}
			delete(before, file)
		}
		for file := range before {
			s.Errorf("%s: gone: %s", h.Name(), file)
		}
	}
}

// ofLibvirt: QEMU asks sysfs how large its requests may be. libvirt's profile lets
// it ask for disks below /sys/devices/**/block/, and an NVMe namespace with native
// multipath is elsewhere; QEMU goes on without. So it is without volbridge too.
var ofLibvirt = regexp.MustCompile(`profile="libvirt-[0-9a-f-]+" name="/sys/devices/virtual/nvme-subsystem/[^"]+/queue/max_segments"`)

// noDenials fails if AppArmor has kept anything of volbridge, or of a guest's
// disk, from working.
func (s *packaged) noDenials() {
	s.Helper()
	for _, h := range s.hosts() {
		for line := range strings.Lines(s.sh(h, `dmesg | grep 'apparmor="DENIED"' || true`)) {
			if !ofLibvirt.MatchString(line) {
				s.Errorf("%s: %s", h.Name(), strings.TrimSpace(line))
			}
		}
	}
}
