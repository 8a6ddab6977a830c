package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// libvirt is the daemon of this host, once it has answered.
func (e *Env) libvirt(ctx context.Context) (Libvirt, error) {
	defer waiting(ctx, "libvirt's daemon")()
	return once(ctx, e, "libvirt", askTime, func(ctx context.Context) (Libvirt, error) {
		l, err := e.Local(ctx)
		if err != nil {
			return nil, err
		}
		_, err = l.Guests(ctx)
		return l, err
	})
}

// oldest is the first libvirt that is tested.
const oldest = 9_000_000

func versionText(v uint32) string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000)
}

func checkLibvirt(ctx context.Context, e *Env) []Finding {
	l, err := e.libvirt(ctx)
	if err != nil {
		return []Finding{e.silentDaemon(err)}
	}
	v, err := l.LibVersion(ctx)
	if err != nil {
		return []Finding{e.silentDaemon(err)}
	}
	if v < oldest {
		return []Finding{{Level: Warn, Seen: fmt.Sprintf("libvirt is version %s; volbridge is tested from %s on", versionText(v), versionText(oldest)), Remedy: "update libvirt"}}
	}
	return nil
}

// silentDaemon says why libvirt does not answer, as far as can be seen.
func (e *Env) silentDaemon(err error) Finding {
	f := Finding{Level: Fail, Seen: "libvirt does not answer: " + oneLine(err.Error())}
	pid, name := e.daemon()
	switch {
	case pid == "":
		f.Seen += "; neither libvirtd nor virtqemud runs"
		f.Remedy = "start it"
		f.Commands = []string{"libvirtd --daemon"}
		if e.systemd() {
			f.Commands = []string{"systemctl start " + e.daemonUnit()}
		}
	case e.stopped(pid):
		f.Seen += fmt.Sprintf("; %s (process %s) was stopped by a signal", name, pid)
		f.Remedy = "let it go on"
		f.Commands = []string{"kill -CONT " + pid}
	default:
		f.Remedy = fmt.Sprintf("%s (process %s) runs but may wait for a hook or a storage pool: see which hook runs (pgrep -a volbridge-hook), then restart it; running guests go on", name, pid)
		if restart := e.restartDaemon(); restart != "" {
			f.Commands = []string{restart}
		}
	}
	return f
}

var daemons = []string{"virtqemud", "libvirtd"}

// daemon finds the process of libvirt's daemon.
func (e *Env) daemon() (pid, name string) {
	all, _ := filepath.Glob(e.Path("/proc") + "/[0-9]*/comm") // the pattern is right
	for _, want := range daemons {
		for _, file := range all {
			text, err := os.ReadFile(file)
			if err == nil && trim(text) == want {
				return filepath.Base(filepath.Dir(file)), want
			}
		}
	}
	return "", ""
}

// daemonUnit is systemd's name of the daemon.
func (e *Env) daemonUnit() string {
	if _, name := e.daemon(); name != "" {
		return name
	}
	if e.exists("/usr/sbin/libvirtd") || !e.exists("/usr/sbin/virtqemud") {
		return "libvirtd"
	}
	return "virtqemud"
}

// stopped says whether a process stands still.
func (e *Env) stopped(pid string) bool {
	_, rest, _ := strings.Cut(e.read("/proc/"+pid+"/stat"), ") ")
	return strings.HasPrefix(rest, "T")
}

// restartDaemon is "" where it is not known how.
func (e *Env) restartDaemon() string {
	if !e.systemd() {
		return ""
	}
	return "systemctl restart " + e.daemonUnit()
}

// reloadDaemon makes the daemon look for hooks again.
func (e *Env) reloadDaemon() string {
	pid, _ := e.daemon()
	switch {
	case e.systemd():
		return "systemctl reload " + e.daemonUnit()
	case pid != "":
		return "kill -HUP " + pid
	}
	return ""
}

// architectures are QEMU's names of Go's.
var architectures = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64", "s390x": "s390x", "riscv64": "riscv64"}

// packages of Debian that have the QEMU of an architecture.
var qemuPackages = map[string]string{"amd64": "qemu-system-x86", "arm64": "qemu-system-arm", "ppc64le": "qemu-system-ppc"}

func checkQEMU(_ context.Context, e *Env) []Finding {
	out := e.missingQEMU()
	if !e.anyOf("/usr/bin/qemu-img") {
		out = append(out, Finding{Level: Warn, Seen: "there is no /usr/bin/qemu-img: 'volbridge volume create --from' needs it", Remedy: "install it", Commands: []string{e.install("qemu-utils", "qemu-img")}})
	}
	return out
}

func (e *Env) missingQEMU() (out []Finding) {
	arch := architectures[runtime.GOARCH]
	if !e.anyOf("/usr/bin/qemu-system-"+arch, "/usr/libexec/qemu-kvm", "/usr/bin/qemu-kvm", "/usr/bin/kvm") {
		name := qemuPackages[runtime.GOARCH]
		if name == "" {
			name = "qemu-system"
		}
		out = append(out, Finding{Level: Fail, Seen: "there is no QEMU for " + arch + ": neither /usr/bin/qemu-system-" + arch + " nor /usr/libexec/qemu-kvm", Remedy: "install it", Commands: []string{e.install(name, "qemu-kvm")}})
	}
	return out
}

func (e *Env) anyOf(paths ...string) bool {
	for _, p := range paths {
		if e.exists(p) {
			return true
		}
	}
	return false
}

// install is the command that installs a package, by its name on Debian and on
// Fedora.
func (e *Env) install(deb, rpm string) string {
	if !e.exists("/usr/bin/apt-get") && e.exists("/usr/bin/dnf") {
		return "dnf install -y " + rpm
	}
	return "apt-get install -y " + deb
}
