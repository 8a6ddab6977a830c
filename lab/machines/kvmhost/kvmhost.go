// Package kvmhost makes KVM hosts with volbridge on emulated machines, from the
// package that `make package` makes.
package kvmhost

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/machines"
)

// HookFile is where libvirt finds the hook.
const HookFile = "/etc/libvirt/hooks/qemu.d/50-volbridge"

// Source is the top folder of the source tree, as seen from where the program
// runs.
type Source string

// NQN is what the host with this name, which ends in two digits, calls
// itself.
func NQN(name string) string {
	return "nqn.2014-08.org.nvmexpress:uuid:6a0d6f0e-0000-4000-8000-0000000000" + name[len(name)-2:]
}

// Machine is a KVM host without volbridge; Install adds it.
func (s Source) Machine(name string) machines.Machine {
	return machines.Machine{Name: name, KVM: true, Files: map[string]lab.File{
		"/etc/nvme/hostnqn": {Data: []byte(NQN(name) + "\n")},
	}}
}

// Package is the deb in dist, or in a folder below it.
func (s Source) Package(below string) (string, error) {
	found, err := filepath.Glob(filepath.Join(string(s), "dist", below, "volbridge_*.deb"))
	if err != nil || len(found) != 1 {
		return "", errors.Join(err, fmt.Errorf("dist/%s holds %d packages, want one: run make package", below, len(found)))
	}
	return found[0], nil
}

// Install installs the package, as a person does, and a configuration. Recovery
// runs only where a test asks for it: by its timer it would clean up what tests
// want to find.
func (s Source) Install(ctx context.Context, h *machines.Node, config string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	deb, err := s.Package("")
	if err != nil {
		return err
	}
	if err := h.Copy(ctx, deb, "/root/volbridge.deb", 0o644); err != nil {
		return err
	}
	if _, err := h.Shell(ctx, `dpkg --install /root/volbridge.deb && rm /root/volbridge.deb && systemctl --quiet disable --now volbridge-recover.timer`); err != nil {
		return err
	}
	return h.WriteFile(ctx, "/etc/volbridge/volbridge.toml", []byte(config+Timeouts), 0o600)
}

// Timeouts are deadlines for an emulated machine, on which a program takes a
// tenth of a second to start and may stand still for many.
const Timeouts = `
[timeouts]
prepare = "3m"
release = "60s"
lock = "2m"
`
