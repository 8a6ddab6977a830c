package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// modulesOf are the modules that each type of pool needs.
var modulesOf = []struct {
	pool    string
	modules []string
}{
	{"dir", []string{"loop"}},
	{"flasharray", []string{"nvme_fabrics", "nvme_tcp"}},
	{"linstor", []string{"drbd"}},
	{"drbd", []string{"drbd"}},
}

func checkModules(_ context.Context, e *Env) (out []Finding) {
	var done []string
	for _, d := range modulesOf {
		for _, m := range d.modules {
			if e.needs(d.pool) && !slices.Contains(done, m) {
				done = append(done, m)
				out = append(out, e.module(d.pool, m)...)
			}
		}
	}
	return out
}

// module: one that can be loaded is loaded when it is needed, but for DRBD's,
// without which its resources do not come up.
func (e *Env) module(pool, name string) []Finding {
	if e.exists("/sys/module/" + name) {
		return nil
	}
	release := e.read("/proc/sys/kernel/osrelease")
	modprobe := "modprobe " + name
	keep := "mkdir -p /etc/modules-load.d && echo " + name + " >/etc/modules-load.d/volbridge-" + name + ".conf"
	switch {
	case e.listed(release, "modules.builtin", name):
		return nil
	case e.listed(release, "modules.dep", name) && name != "drbd":
		return nil
	case e.listed(release, "modules.dep", name):
		return []Finding{{Level: Fail, Seen: "the module " + name + " is not loaded, which pools of type " + pool + " need", Remedy: "load it, now and at boot", Commands: []string{modprobe, keep}}}
	}
	return []Finding{{Level: Fail, Seen: fmt.Sprintf("kernel %s has no module %s, which pools of type %s need", release, name, pool),
		Remedy:   "install the modules of the running kernel (on Ubuntu linux-modules-extra, on Fedora kernel-modules), or boot the kernel whose modules are installed; then load it",
		Commands: []string{modprobe, keep}}}
}

// listed says whether a list of depmod has the module.
func (e *Env) listed(release, list, name string) bool {
	text, err := os.ReadFile(e.Path("/lib/modules/" + release + "/" + list))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		file, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		file, _, _ = strings.Cut(filepath.Base(file), ".ko")
		if strings.ReplaceAll(file, "-", "_") == name {
			return true
		}
	}
	return false
}

func (e *Env) nvmeMultipathOff() bool {
	return e.read("/sys/module/nvme_core/parameters/multipath") == "N"
}

func checkNVMeMultipath(_ context.Context, e *Env) []Finding {
	if !e.needs("flasharray") || !e.nvmeMultipathOff() {
		return nil
	}
	const file = "/etc/modprobe.d/volbridge-nvme.conf"
	seen := "the kernel's own NVMe multipath is off: each path of a volume is a device, and a path that fails stops the guest"
	if strings.Contains(e.read(file), "multipath=Y") {
		return []Finding{{Level: Fail, Seen: seen + "; it is switched on in " + file + " and counts from the next boot", Remedy: "boot again once no guest runs here"}}
	}
	return []Finding{{Level: Fail, Seen: seen, Remedy: "switch it on, for the next boot; where the initramfs loads NVMe, make it anew, and remove nvme_core.multipath=N from the kernel's command line",
		Commands: []string{"mkdir -p /etc/modprobe.d", "echo 'options nvme_core multipath=Y' >" + file}}}
}

func checkDRBD(ctx context.Context, e *Env) []Finding {
	if !e.needs("linstor", "drbd") {
		return nil
	}
	if !e.anyOf("/usr/sbin/drbdadm", "/sbin/drbdadm") {
		return []Finding{{Level: Fail, Seen: "there is no drbdadm", Remedy: "install DRBD's tools", Commands: []string{e.install("drbd-utils", "drbd-utils")}}}
	}
	kernel := e.read("/sys/module/drbd/version")
	if kernel == "" {
		return skip("see modules")
	}
	if e.needs("linstor") && !strings.HasPrefix(kernel, "9.") {
		return []Finding{{Level: Fail, Seen: "the kernel's DRBD is " + kernel + "; LINSTOR needs 9", Remedy: "install DRBD 9 (drbd-dkms or kmod-drbd of LINBIT), and load it once no resource is up"}}
	}
	defer waiting(ctx, "drbdadm --version")()
	text, err := e.Exec(ctx, "drbdadm", "--version")
	if err != nil {
		return []Finding{{Level: Fail, Seen: err.Error(), Remedy: "install DRBD's tools again", Commands: []string{e.install("--reinstall drbd-utils", "drbd-utils")}}}
	}
	tools := drbdVersion(text, "DRBDADM_VERSION=")
	if strings.HasPrefix(kernel, "9.") && strings.HasPrefix(tools, "8.") {
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("DRBD's tools are %s, the kernel's DRBD is %s: they do not fit each other", tools, kernel), Remedy: "install the tools of DRBD 9", Commands: []string{e.install("drbd-utils", "drbd-utils")}}}
	}
	return nil
}

// drbdVersion finds "KEY=VERSION" in a line of its own.
func drbdVersion(text, key string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key); ok {
			return v
		}
	}
	return ""
}
