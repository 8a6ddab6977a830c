package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// firstBoot boots the host, gives it its configuration and starts libvirtd,
// which looks for hooks only once: they come first.
func (h *Host) firstBoot(ctx context.Context, o HostOptions) error {
	if err := h.bootInit(ctx); err != nil {
		return err
	}
	for path, f := range h.baseFiles() {
		if err := h.WriteFile(path, []byte(f), 0o644); err != nil {
			return err
		}
	}
	if err := h.addUser(); err != nil {
		return err
	}
	for name, executable := range o.HookDir {
		program, err := os.ReadFile(executable)
		if err != nil {
			return fmt.Errorf("%s: hook %s: %w", h.name, name, err)
		}
		if err := h.WriteFile(filepath.Join("/etc/libvirt/hooks/qemu.d", name), program, 0o755); err != nil {
			return err
		}
	}
	for path, f := range o.Files {
		mode := f.Mode
		if mode == 0 {
			mode = 0o644
		}
		if err := h.WriteFile(path, f.Data, mode); err != nil {
			return err
		}
	}
	if err := h.StartDaemon(ctx); err != nil {
		return err
	}
	h.lab.say("%s is up at %s (process %d)", h.name, h.address, h.pid)
	return nil
}

// libvirtUser is the default user of Debian's libvirtd, which must exist
// although qemu.conf names another. It comes with the package of libvirtd's
// service, which the lab does without.
const libvirtUser = "libvirt-qemu"

func (h *Host) addUser() error {
	for file, line := range map[string]string{
		"/etc/passwd": libvirtUser + ":x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n",
		"/etc/group":  libvirtUser + ":x:64055:\n",
	} {
		text, err := os.ReadFile(h.Path(file))
		if err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		if bytes.Contains(append([]byte("\n"), text...), []byte("\n"+libvirtUser+":")) {
			continue
		}
		if err := h.WriteFile(file, append(text, line...), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// baseFiles are the files that make a host an own one: libvirt refuses to
// migrate to a host with the same identity.
func (h *Host) baseFiles() map[string]string {
	return map[string]string{
		"/etc/hostname":              h.name + "\n",
		"/etc/hosts":                 string(h.lab.hostsTable()),
		"/etc/machine-id":            withoutDashes(newUUID()) + "\n",
		"/etc/libvirt/libvirtd.conf": fmt.Sprintf(libvirtdConf, h.address, newUUID()),
		"/etc/libvirt/qemu.conf":     fmt.Sprintf(qemuConf, h.address),
	}
}

const libvirtdConf = `listen_tls = 0
listen_tcp = 1
listen_addr = "%s"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "%s"
log_outputs = "1:file:/var/log/libvirt/libvirtd.log"
log_filters = "1:qemu.qemu_migration 1:util.hook 3:*"
`

// QEMU writes serial ports to files itself: through virtlogd, the last words
// of a guest on one host could come after its first ones on the next.
const qemuConf = `user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
migration_host = "%s"
stdio_handler = "file"
`
