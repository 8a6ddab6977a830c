//go:build machines

package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests run inside a machine of package lab/machines, as root, where
// VOLBRIDGE_NVMET is set: they make an NVMe/TCP target of the kernel and
// connect to it over the loopback addresses.
const (
	inMachine   = "VOLBRIDGE_NVMET"
	machineNQN  = "nqn.2010-06.com.purestorage:flasharray.machine"
	configfs    = "/sys/kernel/config/nvmet"
	targetPort  = 4420
	namespaceMB = 16 * mib
)

// target is the kernel's NVMe target with one subsystem and two portals.
type target struct {
	t   *testing.T
	dir string
}

func newTarget(t *testing.T) *target {
	t.Helper()
	if os.Getenv(inMachine) == "" {
		t.Skipf("runs in a machine of the lab only, with %s set", inMachine)
	}
	for _, m := range []string{"configfs", "nvmet", "nvmet-tcp"} {
		run(t, "modprobe", m)
	}
	if _, err := os.Stat(configfs); err != nil {
		run(t, "mount", "-t", "configfs", "none", "/sys/kernel/config")
	}
	tg := &target{t: t, dir: filepath.Join(configfs, "subsystems", machineNQN)}
	tg.must(os.Mkdir(tg.dir, 0o755), setFile(tg.dir+"/attr_allow_any_host", "1"))
	for i, address := range []string{"127.0.0.1", "127.0.0.2"} {
		port := filepath.Join(configfs, "ports", fmt.Sprint(i+1))
		tg.must(os.Mkdir(port, 0o755), setFile(port+"/addr_trtype", "tcp"), setFile(port+"/addr_adrfam", "ipv4"),
			setFile(port+"/addr_traddr", address), setFile(port+"/addr_trsvcid", fmt.Sprint(targetPort)))
		tg.listen(i + 1)
	}
	t.Cleanup(tg.remove)
	return tg
}

func (tg *target) must(errs ...error) {
	tg.t.Helper()
	if err := errors.Join(errs...); err != nil {
		tg.t.Fatal(err)
	}
}

func setFile(path, text string) error { return writeAttribute(path, text) }

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, args, err, out)
	}
	return string(out)
}

func (tg *target) listen(port int) {
	tg.t.Helper()
	tg.must(os.Symlink(tg.dir, filepath.Join(configfs, "ports", fmt.Sprint(port), "subsystems", machineNQN)))
}

func (tg *target) deaf(port int) {
	tg.t.Helper()
	tg.must(os.Remove(filepath.Join(configfs, "ports", fmt.Sprint(port), "subsystems", machineNQN)))
}

func (tg *target) namespaceDir(nsid int) string {
	return filepath.Join(tg.dir, "namespaces", fmt.Sprint(nsid))
}

// add prepares a namespace; show enables it.
func (tg *target) add(nsid int, nguid, uuid string, sizeBytes int64) {
	tg.t.Helper()
	file := filepath.Join(tg.t.TempDir(), fmt.Sprintf("%d.%s.raw", nsid, nguid))
	f, err := os.Create(file)
	tg.must(err)
	tg.must(f.Truncate(sizeBytes), f.Close())
	dir := tg.namespaceDir(nsid)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		tg.t.Fatal(err)
	}
	tg.must(setFile(dir+"/device_path", file), setFile(dir+"/device_nguid", nguid), setFile(dir+"/device_uuid", uuid))
}

const noUUID = "00000000-0000-0000-0000-000000000000"

func (tg *target) show(nsid int) {
	tg.t.Helper()
	tg.must(setFile(tg.namespaceDir(nsid)+"/enable", "1"))
}
func (tg *target) hide(nsid int) {
	tg.t.Helper()
	tg.must(setFile(tg.namespaceDir(nsid)+"/enable", "0"))
}

func (tg *target) remove() {
	spaces, _ := filepath.Glob(tg.dir + "/namespaces/*")
	for _, ns := range spaces {
		_ = setFile(ns+"/enable", "0")
		_ = os.Remove(ns)
	}
	_ = exec.Command("nvme", "disconnect", "-n", machineNQN).Run()
	for _, port := range []string{"1", "2"} {
		dir := filepath.Join(configfs, "ports", port)
		_ = os.Remove(filepath.Join(dir, "subsystems", machineNQN))
		if err := os.Remove(dir); err != nil {
			tg.t.Error(err)
		}
	}
	if err := os.Remove(tg.dir); err != nil {
		tg.t.Error(err)
	}
}

func (tg *target) connection(nguid string, sizeBytes int64) Connection {
	return Connection{
		Protocol: NVMeTCP, Pool: "flash", Volume: "vm1", HostID: "h", Identity: Identity(nguid), SizeBytes: sizeBytes,
		Path: "/dev/disk/by-id/nvme-eui." + nguid,
		NVMe: &NVMeTarget{
			SubsystemNQN: machineNQN, HostNQN: hostNQN(tg.t),
			Portals:         []Portal{{"127.0.0.1", targetPort}, {"127.0.0.2", targetPort}},
			CtrlLossTimeout: time.Minute, FastIOFailTimeout: 5 * time.Second,
		},
	}
}

// hostNQN is the machine's own, so that nvme-cli is the same host.
func hostNQN(t *testing.T) string {
	text, err := os.ReadFile("/etc/nvme/hostnqn")
	if os.IsNotExist(err) {
		return testHostNQN
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func within(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// silence has the target send no events to this host any more (Asynchronous
// Event Configuration, feature 0bh), as targets without AEN do.
func silence(t *testing.T) {
	t.Helper()
	nodes, err := filepath.Glob("/dev/nvme[0-9]")
	if err != nil || len(nodes) == 0 {
		t.Fatalf("controllers: %v, %v", nodes, err)
	}
	for _, n := range nodes {
		run(t, "nvme", "set-feature", n, "-f", "0x0b", "-v", "0")
	}
}

// states of all controllers, one after the other.
func states(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("/sys/class/nvme/nvme*/state")
	if err != nil || len(files) == 0 {
		t.Fatalf("controllers: %v, %v", files, err)
	}
	var all []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(string(text)))
	}
	return strings.Join(all, " ")
}

// watchKernel starts to listen to the kernel's log. The function that it
// returns comes back when what it is given is true: it looks at once, and
// whenever the kernel says something. A controller that is lost is told there
// and nowhere else.
func watchKernel(t *testing.T) func(until func() bool) {
	t.Helper()
	log, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	if _, err := log.Seek(0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	return func(until func() bool) {
		t.Helper()
		if err := log.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		record := make([]byte, 8192)
		for !until() {
			if _, err := log.Read(record); err != nil && !errors.Is(err, unix.EPIPE) {
				t.Fatalf("waited for the kernel: %v; controllers are %s", err, states(t))
			}
		}
	}
}

// attach waits for every portal, however slow the machine is: which paths are
// there, and which controllers send events, is then known.
func (tg *target) attach(c Connection) Device {
	tg.t.Helper()
	tr := newNVMe(System())
	tr.grace = 20 * time.Second
	d, err := tr.Attach(within(tg.t, 30*time.Second), c)
	tg.must(err)
	return d
}

func (tg *target) leave(nsid int, c Connection) {
	tg.t.Helper()
	r := newNVMe(System())
	tg.must(r.Flush(within(tg.t, 30*time.Second), c))
	tg.hide(nsid)
	tg.must(r.Gone(within(tg.t, 30*time.Second), c))
	if _, err := os.Lstat(c.Path); !os.IsNotExist(err) {
		tg.t.Errorf("the link after Gone: %v", err)
	}
	if _, err := Find(tg.t.Context(), System(), c); !errors.Is(err, ErrNotAttached) {
		tg.t.Errorf("after Gone: %v", err)
	}
}
