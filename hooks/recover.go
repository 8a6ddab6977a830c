package hooks

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Recovery starts `volbridge recover`.
type Recovery struct {
	Program    string // "/usr/bin/volbridge"; where it is missing PATH is searched
	SystemdDir string // "/run/systemd/system": there if systemd runs
	Unit       string // "volbridge-recover.service"
}

// DefaultRecovery is that of an installed host.
func DefaultRecovery() Recovery {
	return Recovery{Program: "/usr/bin/volbridge", SystemdDir: "/run/systemd/system", Unit: "volbridge-recover.service"}
}

// Start returns as soon as recovery was told to run. Under systemd it is a
// unit, so that it outlives libvirt's daemon and is not bound by its profile;
// else it is a process of its own session. Its stdin, stdout and stderr are
// /dev/null: libvirt waits until nobody has the hook's open.
func (r Recovery) Start() error {
	if _, err := os.Stat(r.SystemdDir); err == nil && r.startUnit() == nil {
		return nil
	}
	return r.spawn()
}

func (r Recovery) startUnit() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, "systemctl", "start", "--no-block", "--quiet", r.Unit).Run()
}

func (r Recovery) spawn() error {
	program := r.Program
	if _, err := os.Stat(program); errors.Is(err, os.ErrNotExist) {
		if program, err = exec.LookPath("volbridge"); err != nil {
			return err
		}
	}
	cmd := exec.Command(program, "recover", "--quiet")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}
