//go:build machines

package scenario

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/arrays"
	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/cluster"
	"github.com/volbridge/volbridge/lab/machines/kvmhost"
	"github.com/volbridge/volbridge/lab/machines/machinestest"
	"github.com/volbridge/volbridge/lab/nvmesim/target"
	"github.com/volbridge/volbridge/lab/quickstart"
)

// beginner is two hosts as their administrator has them who opens a quick start:
// Debian with libvirt, ssh between them, and no volbridge. (AppArmor is left to
// TestPackages: its profile of each guest takes long to be made here.) What a
// document names is there under that name, and three things are not what they
// seem: the stand-ins behind the names; the image of Debian, which is a tick
// guest's; and in each web1.xml the processor, which is emulated, the memory, of
// which that guest needs little, and the serial port, on which it is heard.
type beginner struct {
	*site
	source  kvmhost.Source
	linstor *cluster.Running
	doc     string // the name of the quick start that is followed
}

// TestQuickStarts does what the quick starts say, one after the other on the same
// machines: each ends with all taken away again.
func TestQuickStarts(t *testing.T) {
	t.Parallel()
	s := startBeginner(t)
	for _, c := range []struct {
		doc     string
		prepare func(*beginner)
	}{
		{"flasharray", (*beginner).hasArray},
		{"linstor", (*beginner).hasCluster},
		{"drbd", (*beginner).hasVolumeGroup},
		{"dir", (*beginner).hasServer},
	} {
		ok := t.Run(c.doc, func(t *testing.T) {
			sub, inner := *s, *s.site
			inner.T, inner.since = t, time.Now()
			sub.site, sub.doc = &inner, c.doc
			c.prepare(&sub)
			sub.phase("what is needed")
			sub.follow()
			sub.nothingLeft()
		})
		if !ok {
			break // what it left would confuse the next
		}
	}
}

func startBeginner(t *testing.T) *beginner {
	s := &beginner{site: &site{T: t, since: time.Now()}, source: "../../.."}
	s.Lab = machinestest.Start(t, machines.Options{Machines: []machines.Machine{{Name: "array"}, s.source.Machine("kvm01"), s.source.Machine("kvm02")}})
	s.a, s.b = s.Node("kvm01"), s.Node("kvm02")
	s.phase("boot of three machines")
	for _, h := range s.hosts() {
		s.usual(h)
	}
	s.acquaint(s.a, s.b)
	s.acquaint(s.b, s.a)
	s.tickImage(s.a, "/root/debian-13-genericcloud-amd64.qcow2", "qcow2")
	s.phase("two hosts as usual")
	return s
}

// usualScript: ssh with a key, without the session that systemd makes of each
// login, which takes long here; names; and a clock of which the kernel is told
// that it is kept right, for there is no time server.
const usualScript = `
echo UsePAM no >/etc/ssh/sshd_config.d/lab.conf
systemctl start ssh
mkdir -p -m 700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cat >>/etc/hosts
python3 -c '
import ctypes
# struct timex begins with modes, offset, freq, maxerror, esterror, status
t = (ctypes.c_long * 32)(4 | 16) # ADJ_MAXERROR, ADJ_STATUS
if ctypes.CDLL(None).adjtimex(t) < 0:
    raise SystemExit("the clock cannot be called kept")
'`

// Where the stand-ins answer to their names.
const (
	arrayAddress      = "10.78.0.5"
	controllerAddress = "10.78.0.6"
	otherAddress      = "10.78.0.7" // where no controller runs
)

func (s *beginner) usual(h *machines.Node) {
	s.Helper()
	cmd := h.Command(s.inTime(), "sh", "-euc", usualScript)
	cmd.Stdin = strings.NewReader(arrayAddress + " array.example.com\n" + controllerAddress + " store1\n" + otherAddress + " store2\n" +
		s.Node("array").Address() + " nfs.example.com\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("%s: %v: %s", h.Name(), err, out)
	}
	deb, err := s.source.Package("")
	s.must(err)
	s.must(h.Copy(s.inTime(), deb, "/root/"+filepath.Base(deb), 0o644))
}

// acquaint lets root of one host log in on the other.
func (s *beginner) acquaint(from, to *machines.Node) {
	s.Helper()
	s.sh(to, `echo "$1" >>/root/.ssh/authorized_keys`, s.on(from, "cat", "/root/.ssh/id_ed25519.pub"))
	s.sh(from, `echo "$1 $2" >>/root/.ssh/known_hosts`, to.Name(), s.on(to, "cat", "/etc/ssh/ssh_host_ed25519_key.pub"))
	s.on(from, "ssh", "-o", "BatchMode=yes", to.Name(), "true")
}

// front lets a stand-in answer at another address; nil: nobody does.
func (s *beginner) front(address, port string, handler http.Handler, secure *tls.Config) {
	s.Helper()
	if out, err := s.Command(s.Context(), "ip", "address", "replace", address+"/24", "dev", "br0").CombinedOutput(); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	if handler == nil {
		return
	}
	l, err := target.ListenIn(s.Context(), s.PID(), address+":"+port)
	s.must(err)
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	server, served := &http.Server{Handler: handler}, make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	s.Cleanup(func() {
		s.must(server.Close())
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			s.Error(err)
		}
	})
}

// hasArray: an array with a host object for each host, its token and its
// certificate, and a guest on a file.
func (s *beginner) hasArray() {
	s.flash = s.array("flash1", "10.78.0.2")
	cert, ca, err := arrays.Certificate("array.example.com")
	s.must(err)
	s.front(arrayAddress, "443", s.flash.Array, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	for _, h := range s.hosts() {
		s.on(h, "rm", "-r", "/etc/volbridge") // what the stand-in is for others
		s.must(h.WriteFile(s.inTime(), "/root/flash-ca.pem", ca, 0o644))
		s.must(h.WriteFile(s.inTime(), "/root/flash.token", []byte(flasharray.TestToken+"\n"), 0o600))
	}
	const file = "/var/lib/libvirt/images/app1.qcow2"
	s.tickImage(s.a, file, "qcow2")
	app := s.heard("app1")
	s.define(s.a, app, lab.FileDisk("vda", "qcow2", file))
	s.on(s.a, "rm", "/root/app1.xml")
	s.on(s.a, "virsh", "start", app.name)
	s.ticks(app)
}

// hasCluster: LINSTOR's controller runs on the first of two names. Its volumes
// have one replica, not two, which would have to be made equal here first; and
// the kernel's DRBD is 8.4, so the doctor is shown another version.
func (s *beginner) hasCluster() {
	s.linstor = s.startLINSTOR()
	s.linstor.AddGroup(linstor.Group{Name: "vms", PlaceCount: 1})
	s.front(controllerAddress, "3370", s.linstor.Controller, nil)
	s.front(otherAddress, "", nil, nil)
	for _, h := range s.hosts() {
		s.on(h, "rm", "-r", "/etc/volbridge")
		s.sh(h, `modprobe drbd; echo 9.2.12 >/run/drbd-version; mount --bind /run/drbd-version /sys/module/drbd/version`)
	}
}

// hasVolumeGroup: a device for the data, smaller than the document's but with a
// size of as many digits, and an address for replication. A machine that is
// emulated does not always answer within DRBD's half second.
func (s *beginner) hasVolumeGroup() {
	for i, h := range s.hosts() {
		s.sh(h, `! mountpoint -q /sys/module/drbd/version || umount /sys/module/drbd/version
			truncate -s 98M /var/lib/web1; mkdir /dev/vg0
			ln -s "$(losetup --find --show --direct-io=on /var/lib/web1)" /dev/vg0/web1
			ip address add 192.0.2."$1"/24 dev eth1
			sed -i 's/^\tnet {/&\n\t\tping-timeout 50;/' /etc/drbd.d/global_common.conf
			grep -q ping-timeout /etc/drbd.d/global_common.conf`, fmt.Sprint(i+1))
	}
}

// hasServer: an NFS server.
func (s *beginner) hasServer() {
	s.sh(s.Node("array"), `mkdir /srv/vms
		echo '/srv/vms  kvm01(rw,sync,no_root_squash,no_subtree_check)  kvm02(rw,sync,no_root_squash,no_subtree_check)' >/etc/exports
		systemctl start nfs-server`)
}

// heard is a guest of this document that counts on its serial port.
func (s *beginner) heard(name string) *guest {
	s.Helper()
	g := s.guest(name + "-" + s.doc)
	g.name = name
	return g
}

// follow does what the document says.
func (s *beginner) follow() {
	s.Helper()
	d, err := quickstart.Read("../../../docs/quickstart/"+s.doc+".md", s.a.Name(), s.b.Name())
	s.must(err)
	s.must(d.Run(s.Context(), s.typed, s.seen))
	log, err := os.ReadFile(s.heard("web1").log)
	s.must(err)
	ticks, err := lab.ReadTicks(log)
	s.must(err)
	if ticks.Boots != 1 {
		s.Errorf("web1 has booted %d times", ticks.Boots)
	}
	s.Logf("web1: %+v", ticks)
}

// typed runs a script of the document. The doctor gives up on what has not
// answered within five seconds, and an emulated machine may need longer for a
// while: then it is asked again. What it finds counts each time.
func (s *beginner) typed(ctx context.Context, host, script string) (printed string, exit int, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	for {
		printed, exit, err = s.run(ctx, host, script)
		if !strings.Contains(script, "volbridge doctor") || err != nil || exit == 0 || !strings.Contains(printed, noAnswer) {
			return printed, exit, err
		}
		s.Logf("%s: asked again after:\n%s", host, printed)
	}
}

// noAnswer is what the doctor says of what took too long.
const noAnswer = "no answer within"

func (s *beginner) run(ctx context.Context, host, script string) (printed string, exit int, err error) {
	out, err := s.Node(host).Command(ctx, "bash", "-c", "exec 2>&1\n"+script).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) && ctx.Err() == nil {
		return string(out), failed.ExitCode(), nil
	}
	return string(out), 0, err
}

// moving is a command after which its guest has to count on.
var moving = regexp.MustCompile(`^(?:virsh start|virsh migrate .*--persistent|volbridge migrate) (\w+)`)

// seen looks after each step whether its guest counts, and makes the definition
// one for this lab.
func (s *beginner) seen(step quickstart.Step) error {
	first, _, _ := strings.Cut(step.Command, "\n")
	s.phase(step.Host + "# " + first)
	if strings.HasPrefix(first, "cat >web1.xml ") {
		return s.adapt(step.Host)
	}
	match := moving.FindStringSubmatch(step.Command)
	if match == nil || strings.HasSuffix(step.Command, "--dry-run") {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.Context(), stepTime)
	defer cancel()
	_, err := lab.WaitMore(ctx, s.heard(match[1]).log, 10)
	s.phase(match[1] + " counts")
	return err
}

const adaptScript = `
sed -i -e "s|<domain type='kvm'>|<domain type='qemu'>|" -e "s|<memory unit='GiB'>1<|<memory unit='MiB'>16<|" -e "s|<serial type='pty'/>|$1|" web1.xml
grep -qF "type='qemu'>" web1.xml; grep -qF "'MiB'>16<" web1.xml; grep -qF "$1" web1.xml`

func (s *beginner) adapt(host string) error {
	serial := strings.Join(strings.Fields(s.heard("web1").serial), " ")
	_, err := s.Node(host).Shell(s.inTime(), adaptScript, serial)
	return err
}

// nothingLeft fails unless both hosts are without guests and without volbridge,
// its package and libvirt's logs aside.
func (s *beginner) nothingLeft() {
	s.Helper()
	for _, h := range s.hosts() {
		left := s.sh(h, `virsh list --all --name
			find / -xdev -path /var/log -prune -o -name '*volbridge*' -not -path '/root/volbridge_*.deb' -print
			find /run /dev -name '*volbridge*'`)
		if left != "" {
			s.Errorf("%s: left: %s", h.Name(), left)
		}
	}
	if s.flash != nil {
		if left := s.flash.Connections(); len(left) > 0 {
			s.Errorf("connections left: %v", left)
		}
	}
}
