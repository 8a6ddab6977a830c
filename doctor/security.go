package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// profiles are AppArmor's of libvirt's daemons, and the file of each.
var profiles = map[string]string{"libvirtd": "usr.sbin.libvirtd", "virtqemud": "usr.sbin.virtqemud"}

// mayRun are the folders whose programs these profiles let the daemon run, as
// Debian and Ubuntu ship them: not /usr/libexec, and nothing of ours in /usr/lib.
var mayRun = []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin"}

func checkAppArmor(_ context.Context, e *Env) []Finding {
	_, daemon := e.daemon()
	if daemon == "" || !enforced(e.read("/sys/kernel/security/apparmor/profiles"), daemon) {
		return nil
	}
	real := e.resolve(hookPath)
	if slices.Contains(mayRun, filepath.Dir(real)) || strings.HasPrefix(real, hooksDir+"/") {
		return e.denials(real)
	}
	file := "/etc/apparmor.d/local/" + profiles[daemon]
	if strings.Contains(e.read(file), real+" ") {
		return e.denials(real)
	}
	return []Finding{{Level: Fail, Seen: fmt.Sprintf("AppArmor's profile %s is enforced and does not let the daemon run %s, to which %s leads", daemon, real, hookPath),
		Remedy: "allow it, and load the profile again",
		Commands: []string{
			"mkdir -p /etc/apparmor.d/local && echo " + quote(real+" rPUx,") + " >>" + file,
			"apparmor_parser -r /etc/apparmor.d/" + profiles[daemon],
		}}}
}

// enforced reads the kernel's list of profiles: "NAME (MODE)" in each line.
func enforced(list, name string) bool {
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == name+" (enforce)" || line == "/usr/sbin/"+name+" (enforce)" {
			return true
		}
	}
	return false
}

// resolve follows the links of the host's files, as far as they lead.
func (e *Env) resolve(path string) string {
	for range 10 {
		to, err := os.Readlink(e.Path(path))
		if err != nil {
			return path
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return path
}

// logs are where a host's denials are, as far as root can read them as text.
var logs = []string{"/var/log/audit/audit.log", "/var/log/kern.log"}

// denials are those of the last megabyte of the logs that name the hook.
func (e *Env) denials(real string) (out []Finding) {
	for _, log := range logs {
		if line := lastDenial(tail(e.Path(log), 1<<20), real); line != "" {
			out = append(out, Finding{Level: Warn, Seen: "AppArmor denied something to the hook (" + log + "): " + oneLine(line),
				Remedy: "if it still happens, allow it in /etc/apparmor.d/local; the finding goes once the log is rotated"})
		}
	}
	return out
}

func lastDenial(text, program string) (last string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, `apparmor="DENIED"`) && (strings.Contains(line, program) || strings.Contains(line, `comm="volbridge-hook"`)) {
			last = line
		}
	}
	return last
}

func tail(path string, most int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	data := make([]byte, min(most, info.Size()))
	n, _ := f.ReadAt(data, info.Size()-int64(len(data))) // what can be read counts
	return string(data[:n])
}

const hooksBoolean = "virt_hooks_unconfined"

func checkSELinux(_ context.Context, e *Env) []Finding {
	if e.read("/sys/fs/selinux/enforce") != "1" {
		return nil
	}
	value, there := e.read("/sys/fs/selinux/booleans/"+hooksBoolean), e.exists("/sys/fs/selinux/booleans/"+hooksBoolean)
	if !there || strings.HasPrefix(value, "1") {
		return nil
	}
	return []Finding{{Level: Fail, Seen: "SELinux is enforcing, and " + hooksBoolean + " is off: the hook may use neither the network nor devices",
		Remedy: "switch it on", Commands: []string{"setsebool -P " + hooksBoolean + " on"}}}
}
