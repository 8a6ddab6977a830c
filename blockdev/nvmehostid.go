package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/volbridge/volbridge/internal/lazyregexp"
)

var uuidText = lazyregexp.New(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// prepareConnect makes what the first connection of a host needs: the kernel's
// driver, and the host's name and id, kept where nvme-cli looks for them too,
// since the kernel refuses one name with two ids.
func (t nvme) prepareConnect(ctx context.Context, target *NVMeTarget, v nvmeView) (hostID string, err error) {
	if err := t.loadDriver(ctx); err != nil {
		return "", err
	}
	folder := filepath.Join(t.host.Etc, "nvme")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	nqn, err := keep(filepath.Join(folder, "hostnqn"), target.HostNQN)
	if err != nil {
		return "", err
	}
	if nqn != target.HostNQN {
		return "", fmt.Errorf("the array was asked to let in host %s, but %s/hostnqn says that this host is %q: "+
			"correct the file or remove it, and try again", target.HostNQN, folder, shorten(nqn))
	}
	file := filepath.Join(folder, "hostid")
	if hostID, err = keep(file, newHostID(target.HostNQN, v)); err != nil {
		return "", err
	}
	if !uuidText.MatchString(hostID) {
		return "", fmt.Errorf("%s does not hold a UUID but %q: write one into it (uuidgen), or remove it to have one made", file, shorten(hostID))
	}
	return hostID, nil
}

// newHostID is the id with which this host is connected already, else the UUID
// of its name, else a new one.
func newHostID(hostNQN string, v nvmeView) string {
	for _, c := range v.controllers {
		if uuidText.MatchString(c.hostID) {
			return c.hostID
		}
	}
	if _, id, _ := strings.Cut(hostNQN, ":uuid:"); uuidText.MatchString(id) {
		return id
	}
	return uuid.NewString()
}

// keep returns what the file says; one that is missing is made with text. It
// appears complete, so that of several processes at once all see the same.
func keep(file, text string) (string, error) {
	have, err := os.ReadFile(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return strings.TrimSpace(string(have)), err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".volbridge-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(text + "\n")
	if err = errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close()); err != nil {
		return "", fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Link(temp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("write %s: %w", file, err)
	}
	have, err = os.ReadFile(file)
	return strings.TrimSpace(string(have)), err
}

func (t nvme) loadDriver(ctx context.Context) error {
	fabrics := filepath.Join(t.host.Dev, "nvme-fabrics")
	if _, err := os.Stat(fabrics); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := t.modprobe(ctx, "nvme-tcp"); err != nil {
		return fmt.Errorf("there is no %s, and the kernel's driver cannot be loaded: %w; "+
			"install the modules of the running kernel (uname -r), or add nvme-tcp to /etc/modules-load.d", fabrics, err)
	}
	return WaitPath(ctx, fabrics)
}

// modprobe runs the program from a fixed place: a hook may have no PATH.
func modprobe(ctx context.Context, module string) error {
	for _, program := range []string{"/sbin/modprobe", "/usr/sbin/modprobe", "/usr/bin/modprobe"} {
		if _, err := os.Stat(program); err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, program, module).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s %s: %w: %s", program, module, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	return errors.New("there is no modprobe in /sbin, /usr/sbin or /usr/bin")
}
