package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/arrays"
	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/nvmesim"
)

// Exit codes of the doctor.
const (
	wellExit   = 0
	warnedExit = 7
	unfitExit  = 8
)

// diagnosis is what the doctor prints as JSON.
type diagnosis struct {
	Level  string
	Checks []struct {
		ID, Level string
		Findings  []diagnosed
	}
}

// diagnosed is one finding; ID is its check's.
type diagnosed struct {
	ID                  string `json:"-"`
	Level, Seen, Remedy string
	Commands            []string
}

// clinic is a host that lacks nothing, with a doctor on it.
type clinic struct {
	*arrayCluster
	shared string
}

// The programs of a host that the lab's lacks, as far as remedies call them.
// systemctl keeps what is switched on in /run/units.
var clinicPrograms = map[string]string{
	"systemctl": `case "$*" in
"is-active --quiet volbridge-recover.timer"|"is-enabled --quiet volbridge-recover.timer") [ -e /run/units/timer ] ;;
"enable --now volbridge-recover.timer") mkdir -p /run/units; : >/run/units/timer ;;
"start libvirtd") libvirtd --daemon ;;
"reload libvirtd") kill -HUP "$(cat /run/libvirtd.pid)" ;;
"restart libvirtd") kill "$(cat /run/libvirtd.pid)"; while ! libvirtd --daemon; do :; done ;;
"start systemd-udevd") : >/run/udev/control ;;
"start --no-block --quiet volbridge-recover.service") exit 0 ;;
*) echo "systemctl $*: unknown" >&2; exit 1 ;;
esac`,
	"apparmor_parser": `grep -q '/opt/volbridge/volbridge-hook rPUx,' /etc/apparmor.d/local/usr.sbin.libvirtd`,
	"setsebool":       `[ "$*" = "-P virt_hooks_unconfined on" ] && echo "1 1" >` + nvmesim.SysRoot + `/fs/selinux/booleans/virt_hooks_unconfined`,
	"modprobe":        `mkdir -p ` + nvmesim.SysRoot + `/module/"$1"`,
	"apt-get":         `[ "$*" = "install -y qemu-utils" ] && mv /usr/bin/qemu-img.away /usr/bin/qemu-img`,
	"udevadm":         `exit 0`,
	"multipathd":      `grep -qF 'wwid "^eui[.]009714b5cb91634c24a937470002b2c8$"' /etc/multipath/conf.d/volbridge-eui.009714b5cb91634c24a937470002b2c8.conf`,
	"multipath":       `[ "$*" = "-f mpatha" ] && rm -r ` + nvmesim.SysRoot + `/block/nvme9n1`,
	"vgchange":        `[ "$*" = "-an guest-vg" ] && rm -r ` + nvmesim.SysRoot + `/block/loop*/holders`,
}

func newClinic(t *testing.T) *clinic {
	c := &clinic{arrayCluster: upWithArrays(t, arrayOptions{})}
	c.shared = c.lab.SharedDir()
	for _, h := range c.lab.Hosts() {
		c.furnish(h)
	}
	return c
}

// furnish gives a host what the lab's lack of one that was installed from
// packages.
func (c *clinic) furnish(h *lab.Host) {
	for name, script := range clinicPrograms {
		c.must(h.WriteFile("/usr/sbin/"+name, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	rule, err := os.ReadFile("../../packaging/udev/60-volbridge.rules")
	c.must(err)
	c.must(h.WriteFile("/usr/lib/udev/rules.d/60-volbridge.rules", rule, 0o644))
	c.must(h.WriteFile("/etc/volbridge/flash.token", []byte(flasharray.TestToken+"\n"), 0o600))
	c.must(h.WriteFile(clinicConfig, []byte(c.config("")), 0o600))
	c.sh(h, `mkdir -p /run/systemd/system /run/units /run/udev /usr/libexec/volbridge
: >/run/units/timer; : >/run/udev/control
cp /etc/libvirt/hooks/qemu.d/50-volbridge /usr/libexec/volbridge/volbridge-hook
mkdir -p `+nvmesim.SysRoot+` && cd `+nvmesim.SysRoot+` && mkdir -p module/loop module/nvme_tcp module/nvme_fabrics`)
}

const clinicConfig = "/etc/volbridge/volbridge.toml"

// config has the array's token in a file; more are lines of pool flash.
func (c *clinic) config(more string) string {
	inline := fmt.Sprintf("api_token = %q", flasharray.TestToken)
	text := pools(c.shared) + c.flash.PoolConfig("flash", "create_host = true")
	return strings.Replace(text, inline, `api_token_file = "/etc/volbridge/flash.token"`, 1) + more
}

func (c *clinic) sh(h *lab.Host, script string) {
	c.Helper()
	c.on(h, "sh", "-ec", script)
}

// doctor asks again where it gave up on something that f does not make silent: it
// waits some seconds for an answer, and on a busy machine one may take longer.
func (c *clinic) doctor(f fault) (code int, found []diagnosed) {
	c.Helper()
	for range 5 {
		began := time.Now()
		code, found = c.ask(f.args...)
		took := time.Since(began)
		if took <= mostTime && !slices.ContainsFunc(found, func(x diagnosed) bool {
			return strings.Contains(x.Seen, "no answer within") && (x.ID != f.id || !strings.Contains(x.Seen, f.says))
		}) {
			return code, found
		}
		c.Logf("asked again, after %s and %+v", took, found)
	}
	c.Errorf("it never ended within %s with all answers", mostTime)
	return code, found
}

// mostTime is what the doctor may take, whatever does not answer.
const mostTime = 5 * time.Second

// ask runs the doctor and returns its exit code and what it found. The machine's
// own clock is none of the test's business.
func (c *clinic) ask(args ...string) (code int, found []diagnosed) {
	c.Helper()
	cmd := c.a.Command(c.ctx, "volbridge", append([]string{"--output", "json", "doctor", "--skip", "clock-sync"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.Fatal(err)
	}
	var d diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		c.Fatalf("doctor: %v\n%s%s", err, out, &stderr)
	}
	for _, check := range d.Checks {
		for _, f := range check.Findings {
			if f.ID = check.ID; f.Level != "skip" {
				found = append(found, f)
			}
		}
	}
	return cmd.ProcessState.ExitCode(), found
}

// fault is one thing that can be wrong with a host.
type fault struct {
	name  string
	plant string // script on the host; or
	do    func()
	args  []string // of the doctor
	// id of the check that is to find it, exit of the doctor, and says, part of
	// what is seen.
	id   string
	exit int
	says string
	// byHand cures what no command on the host can cure: an array, a cable, a
	// text that only its author can correct. The remedy then has no command.
	byHand string
	undo   func()
	// after is what follows the commands in the world, such as the next boot.
	after string
}

func TestDoctorFindsAndCures(t *testing.T) {
	c := newClinic(t)
	if code, found := c.doctor(fault{}); code != wellExit || len(found) > 0 {
		t.Fatalf("a healthy host: exit %d, %+v", code, found)
	}
	if code, found := c.doctor(fault{args: []string{"--peer", c.b.URI()}}); code != wellExit || len(found) > 0 {
		t.Fatalf("a healthy host with a healthy peer: exit %d, %+v", code, found)
	}
	for _, list := range [][]fault{c.fileFaults(), c.hookFaults(), c.libvirtFaults(), c.systemFaults(), c.identityFaults(), c.poolFaults()} {
		c.tryAll(t, list)
	}
	c.withGuest(t)
}

// tryAll ends with the first fault that stays: all others would be found beside
// it.
func (c *clinic) tryAll(t *testing.T, list []fault) {
	for _, f := range list {
		c.try(t, f)
		if code, found := c.doctor(fault{}); code != wellExit {
			t.Fatalf("after %q: exit %d, %+v", f.name, code, found)
		}
	}
}

// try plants a fault, has it found and named, does what the remedy says, to the
// letter, and sees that nothing is found then.
func (c *clinic) try(t *testing.T, f fault) {
	t.Run(f.name, func(t *testing.T) {
		outer := c.T
		c.T = t
		defer func() { c.T = outer }()
		if f.do != nil {
			f.do()
		} else {
			c.sh(c.a, f.plant)
		}
		code, found := c.doctor(f)
		if len(found) != 1 || found[0].ID != f.id || code != f.exit {
			t.Errorf("exit %d, want %d; found, want one of %s:\n%+v", code, f.exit, f.id, found)
		}
		for _, x := range found {
			if !strings.Contains(x.Seen, f.says) {
				t.Errorf("%q does not say %q", x.Seen, f.says)
			}
			c.cure(f, x)
		}
		c.well(f.args...)
	})
}

func (c *clinic) cure(f fault, x diagnosed) {
	c.Helper()
	if x.Remedy == "" || (len(x.Commands) == 0) != (f.byHand != "" || f.undo != nil) {
		c.Errorf("%s: the remedy is %q with the commands %q", x.ID, x.Remedy, x.Commands)
	}
	for _, command := range x.Commands {
		if out, err := c.a.Run(c.ctx, "sh", "-c", command); err != nil {
			c.Errorf("remedy: %v\n%s", err, out)
		}
	}
	if f.undo != nil {
		f.undo()
	}
	c.sh(c.a, f.byHand+"\n"+f.after)
}

// well waits until nothing is found: a daemon that was told to look again does
// so in its own time.
func (c *clinic) well(args ...string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 20*time.Second)
	defer cancel()
	for {
		code, found := c.ask(args...)
		if code == wellExit && len(found) == 0 {
			return
		}
		if ctx.Err() != nil {
			c.Fatalf("after the remedy: exit %d, %+v", code, found)
		}
	}
}

func (c *clinic) fileFaults() []fault {
	const state, token = "/var/lib/volbridge/state.db", "/etc/volbridge/flash.token"
	write := func(text string, mode os.FileMode) func() {
		return func() { c.must(c.a.WriteFile(clinicConfig, []byte(text), mode)) }
	}
	inline := strings.Replace(c.config(""), `api_token_file = "`+token+`"`, fmt.Sprintf("api_token = %q", flasharray.TestToken), 1)
	return []fault{
		{name: "others may write the configuration", plant: "chmod 666 " + clinicConfig, id: "config", exit: unfitExit, says: "0666"},
		{name: "the configuration is a stranger's", plant: "chown 1234 " + clinicConfig, id: "config", exit: unfitExit, says: "1234"},
		{name: "others may read a secret", do: write(inline, 0o644), id: "config", exit: unfitExit, says: "secret"},
		{name: "an unknown key", do: write(c.config("frobnicate = 1\n"), 0o600), id: "config", exit: unfitExit, says: "frobnicate", undo: write(c.config(""), 0o600)},
		{name: "no configuration", plant: "mv " + clinicConfig + " /run/away", id: "config", exit: warnedExit, says: "does not exist", byHand: "mv /run/away " + clinicConfig},
		{name: "others may read the token", plant: "chmod 640 " + token, id: "credentials", exit: unfitExit, says: "0640"},
		{name: "others may read a credential", plant: "install -D -m 644 " + token + " /etc/credstore/flash-token; cp -p " + clinicConfig + " /run/config; sed -i 's#^api_token_file.*#api_token_credential = \"flash-token\"#' " + clinicConfig,
			id: "credentials", exit: unfitExit, says: "/etc/credstore/flash-token has mode 0644", after: "volbridge pool check flash; mv /run/config " + clinicConfig + "; rm -r /etc/credstore"},
		{name: "the token is gone", plant: "mv " + token + " /run/away", id: "credentials", exit: unfitExit, says: token, byHand: "mv /run/away " + token},
		{name: "others may write the certificate", plant: "chmod 666 " + c.flash.CAFile(), id: "credentials", exit: unfitExit, says: "0666"},
		{name: "others may write the state's folder", plant: "chmod 777 /var/lib/volbridge", id: "run-dir", exit: unfitExit, says: "0777"},
		{name: "others may write the run folder", plant: "chmod 777 /run/volbridge", id: "run-dir", exit: unfitExit, says: "/run/volbridge"},
		{name: "others may read the state", plant: "volbridge recover -q; chmod 644 " + state, id: "state", exit: unfitExit, says: "0644"},
		{name: "the state is damaged", plant: "head -c 4096 /dev/urandom >" + state, id: "state", exit: unfitExit, says: "damaged"},
		{name: "the disk is full", plant: "mount -t tmpfs -o size=512k,mode=0700 none /var/lib/volbridge; head -c 1m /dev/zero >/var/lib/volbridge/fill || :",
			id: "disk-space", exit: unfitExit, says: "/var/lib/volbridge", byHand: "umount /var/lib/volbridge"},
	}
}

func (c *clinic) hookFaults() []fault {
	const dir, hook = "/etc/libvirt/hooks/qemu.d", "/etc/libvirt/hooks/qemu.d/50-volbridge"
	script := func(name, body string) string {
		return fmt.Sprintf("printf '#!/bin/sh\\n%s\\n' >%s/%s; chmod 755 %[2]s/%[3]s\n", body, dir, name)
	}
	return []fault{
		{name: "the hook is not executable", plant: "chmod 644 " + hook, id: "hook", exit: unfitExit, says: "0644"},
		{name: "others may write the hook", plant: "chmod 775 " + hook, id: "hook", exit: unfitExit, says: "0775"},
		{name: "the hook is of another build", plant: "rm " + hook + "\n" + script("50-volbridge", `[ "$1" != --version ] || { echo volbridge-hook v0.0.1: old; exit; }\nexec /usr/libexec/volbridge/volbridge-hook "$@"`),
			id: "hook", exit: unfitExit, says: "v0.0.1"},
		{name: "the hook is gone", plant: "rm " + hook, id: "hook", exit: unfitExit, says: "not there"},
		{name: "AppArmor does not allow the hook's place", plant: `mkdir -p /opt/volbridge; cp /usr/libexec/volbridge/volbridge-hook /opt/volbridge; ln -sfn /opt/volbridge/volbridge-hook ` + hook + `
mkdir -p ` + nvmesim.SysRoot + `/kernel/security/apparmor; echo 'libvirtd (enforce)' >` + nvmesim.SysRoot + `/kernel/security/apparmor/profiles`, id: "apparmor", exit: unfitExit, says: "/opt/volbridge/volbridge-hook"},
		{name: "the daemon was there before the first hook", do: func() {
			c.on(c.a, "mv", dir, "/etc/libvirt/away")
			c.must(c.a.RestartDaemon(c.ctx))
			c.on(c.a, "mv", "/etc/libvirt/away", dir)
		}, id: "hook-daemon", exit: unfitExit, says: "does not call it"},
		{name: "another script fails", plant: script("95-fails", "echo no good >&2; exit 1"), id: "hook-scripts", exit: unfitExit, says: "no good"},
		{name: "another script comes before and fails", plant: script("95-fails", "exit 1") + "mv " + dir + "/95-fails " + dir + "/60-fails", id: "hook-scripts", exit: unfitExit, says: "60-fails"},
		{name: "the hook is there twice", plant: "cp " + hook + " " + dir + "/70-again", id: "hook-scripts", exit: unfitExit, says: "70-again", after: "rm " + dir + "/70-again"},
		{name: "a link to the hook is there", plant: "ln -s 50-volbridge " + dir + "/70-again", id: "hook-scripts", exit: unfitExit, says: "70-again", after: "[ -x " + hook + " ]"},
		{name: "others may write a script", plant: "chmod 777 " + dir + "/90-after", id: "hook-scripts", exit: unfitExit, says: "90-after"},
	}
}

func (c *clinic) libvirtFaults() []fault {
	return []fault{
		{name: "libvirt's daemon is gone", do: func() { c.must(c.a.KillDaemon(c.ctx)) }, id: "libvirt", exit: unfitExit, says: "neither libvirtd nor virtqemud runs"},
		{name: "libvirt's daemon is gone, without systemd", do: func() {
			c.must(c.a.KillDaemon(c.ctx))
			c.on(c.a, "mv", "/run/systemd/system", "/run/systemd/away")
		}, id: "libvirt", exit: unfitExit, says: "neither", after: "mv /run/systemd/away /run/systemd/system"},
		{name: "libvirt's daemon stands still", plant: `kill -STOP "$(cat /run/libvirtd.pid)"`, id: "libvirt", exit: unfitExit, says: "stopped by a signal"},
		{name: "no qemu-img", plant: "mv /usr/bin/qemu-img /usr/bin/qemu-img.away", id: "qemu", exit: warnedExit, says: "qemu-img"},
	}
}

func (c *clinic) systemFaults() []fault {
	const sys = nvmesim.SysRoot
	return []fault{
		{name: "SELinux confines hooks", plant: "mkdir -p " + sys + "/fs/selinux/booleans; echo 1 >" + sys + "/fs/selinux/enforce; echo '0 0' >" + sys + "/fs/selinux/booleans/virt_hooks_unconfined",
			id: "selinux", exit: unfitExit, says: "virt_hooks_unconfined"},
		{name: "no module for NVMe/TCP", plant: "rmdir " + sys + "/module/nvme_tcp", id: "modules", exit: unfitExit, says: "nvme_tcp"},
		{name: "no NVMe multipath", plant: "echo N >" + sys + "/module/nvme_core/parameters/multipath", id: "nvme-multipath", exit: unfitExit, says: "multipath",
			after: "grep -q multipath=Y /etc/modprobe.d/volbridge-nvme.conf; echo Y >" + sys + "/module/nvme_core/parameters/multipath"},
		{name: "udev does not run", plant: "rm /run/udev/control", id: "udev", exit: unfitExit, says: "udev does not run"},
		{name: "the udev rule is masked", plant: "mkdir -p /etc/udev/rules.d; ln -s /dev/null /etc/udev/rules.d/60-volbridge.rules", id: "udev", exit: unfitExit, says: "switches"},
		{name: "recovery is not switched on", plant: "rm /run/units/timer", id: "recover-timer", exit: warnedExit, says: "volbridge-recover.timer"},
		{name: "dm-multipath holds NVMe", plant: "cd " + sys + "; mv block block.away; mkdir -p block/nvme9n1/holders/dm-9 block/dm-9/dm; echo mpatha >block/dm-9/dm/name; echo mpath-eui.009714b5cb91634c24a937470002b2c8 >block/dm-9/dm/uuid; echo 009714b5-cb91-634c-24a9-37470002b2c8 >block/nvme9n1/nguid",
			id: "multipath", exit: unfitExit, says: "mpatha", after: "cd " + sys + "; rm -r block; mv block.away block"},
	}
}

func (c *clinic) identityFaults() []fault {
	peer := []string{"--peer", c.b.URI()}
	same := func(file string) func() {
		return func() {
			text, err := os.ReadFile(c.b.Path(file))
			c.must(err)
			c.must(c.a.WriteFile(file, text, 0o644))
		}
	}
	return []fault{
		{name: "no machine id", plant: ": >/etc/machine-id", id: "host-id", exit: unfitExit, says: "machine-id"},
		{name: "the peer has this machine id", do: same("/etc/machine-id"), args: peer, id: "host-id", exit: unfitExit, says: c.b.URI()},
		{name: "the peer has this host_id", do: func() {
			for _, h := range c.lab.Hosts() {
				c.must(h.WriteFile(clinicConfig, []byte("host_id = \"clone\"\n"+c.config("")), 0o600))
			}
		}, args: peer, id: "host-id", exit: unfitExit, says: "same host id"},
		{name: "the peer has this NVMe name", do: same("/etc/nvme/hostnqn"), args: peer, id: "host-nqn", exit: unfitExit, says: arrays.HostNQN(c.b)},
		{name: "a board's NVMe name", plant: "echo nqn.2014-08.org.nvmexpress:uuid:03000200-0400-0500-0006-000700080009 >/etc/nvme/hostnqn", id: "host-nqn", exit: unfitExit, says: "boards"},
		{name: "no NVMe name", plant: "echo kvm01 >/etc/nvme/hostnqn", id: "host-nqn", exit: unfitExit, says: "hostnqn"},
		{name: "no NVMe id", plant: "echo kvm01 >/etc/nvme/hostid", id: "host-nqn", exit: unfitExit, says: "hostid"},
	}
}

func (c *clinic) poolFaults() []fault {
	write := func(text string) func() {
		return func() { c.must(c.a.WriteFile(clinicConfig, []byte(text), 0o600)) }
	}
	theirs := func(text string) func() {
		return func() { c.must(c.b.WriteFile(clinicConfig, []byte(text), 0o600)) }
	}
	peer := []string{"--peer", c.b.URI()}
	exact := filepath.Join(c.shared, "exact")
	return []fault{
		{name: "a pool is not mounted", plant: "mount -t tmpfs none " + exact, id: "pools", exit: unfitExit, says: "exact", byHand: "umount " + exact},
		{name: "a wrong token", plant: "echo 00000000-0000-0000-0000-000000000000 >/etc/volbridge/flash.token", id: "pools", exit: unfitExit, says: "Invalid API token",
			byHand: "echo " + flasharray.TestToken + " >/etc/volbridge/flash.token"},
		{name: "the array is down", do: func() { c.flash.FailFrom(1, flasharray.Fault{Kind: flasharray.LostBefore}) }, id: "pools", exit: unfitExit, says: c.flash.Address, undo: c.flash.ClearFaults},
		{name: "the array is silent", do: func() { c.flash.FailFrom(1, flasharray.Fault{Kind: flasharray.Slow, Delay: time.Hour}) }, id: "pools", exit: unfitExit, says: "pool flash", undo: c.flash.ClearFaults},
		{name: "a portal is dead", do: write(c.config(fmt.Sprintf("portals = [%q, \"10.77.0.9\"]\n", c.flash.Address))), id: "portals", exit: warnedExit, says: "10.77.0.9:4420", undo: write(c.config(""))},
		{name: "the array's clock is wrong", do: func() { c.flash.SkewClock(10*time.Minute + 30*time.Second) }, id: "clock", exit: warnedExit, says: "10m", undo: func() { c.flash.SkewClock(0) }},
		{name: "the peer lacks a pool", do: theirs(pools(c.shared)), args: peer, id: "peer", exit: unfitExit, says: "flash", undo: theirs(c.config(""))},
		{name: "the peer's pool is elsewhere", do: func() {
			c.sh(c.b, "mkdir -p /srv/fast")
			theirs(strings.Replace(c.config(""), c.shared+"/fast", "/srv/fast", 1))()
			c.on(c.b, "volbridge", "pool", "init", "fast")
		}, args: peer, id: "peer", exit: unfitExit, says: "another one", undo: theirs(c.config(""))},
		{name: "the peer has no hook", plant: ":", do: func() { c.on(c.b, "chmod", "644", "/etc/libvirt/hooks/qemu.d/50-volbridge") }, args: peer, id: "peer", exit: unfitExit, says: "no hook",
			undo: func() { c.on(c.b, "chmod", "755", "/etc/libvirt/hooks/qemu.d/50-volbridge") }},
	}
}

// withGuest is what needs a guest, and what one leaves.
func (c *clinic) withGuest(t *testing.T) {
	const sys, hook = nvmesim.SysRoot, "/etc/libvirt/hooks/qemu.d/50-volbridge"
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	link := device("exact", "web1")
	c.tryAll(t, []fault{
		{name: "a link is gone", plant: "rm " + link, id: "udev-links", exit: unfitExit, says: link},
		{name: "LVM holds a guest's disk", plant: "loop=$(basename $(readlink -f " + link + ")); cd " + sys + "; mv block block.away; mkdir -p block/$loop/holders/dm-9 block/dm-9/dm; echo guest--vg-root >block/dm-9/dm/name; echo LVM-xyz >block/dm-9/dm/uuid",
			id: "lvm", exit: unfitExit, says: "exact/web1", after: "cd " + sys + "; rm -r block; mv block.away block"},
		{name: "a guest stopped without the hook", plant: "chmod 644 " + hook + "; virsh destroy " + g.name + "; chmod 755 " + hook, id: "leftovers", exit: warnedExit, says: "exact/web1"},
	})
	c.nothingLeft("exact/web1")
}
