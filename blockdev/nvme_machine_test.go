//go:build machines

package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMachineWholeLife(t *testing.T) {
	tg := newTarget(t)
	c := tg.connection(testNGUID, namespaceMB)
	tg.add(1, testNGUID, noUUID, namespaceMB)
	tg.show(1)
	start := time.Now()
	d := tg.attach(c)
	t.Logf("first attach with two connections: %s; %+v", time.Since(start), d)
	start = time.Now()
	if again := tg.attach(c); again != d {
		t.Errorf("again %+v, want %+v", again, d)
	}
	t.Logf("attach of what is there: %s", time.Since(start))
	start = time.Now()
	if found, err := Find(t.Context(), System(), c); err != nil || found != d {
		t.Errorf("found %+v, %v", found, err)
	}
	t.Logf("find: %s", time.Since(start))
	if d.Warning != "" || len(controllersOf(t)) != 2 {
		t.Errorf("warning %q, controllers %v", d.Warning, controllersOf(t))
	}
	start = time.Now()
	tg.leave(1, c)
	t.Logf("flush, hide, gone: %s", time.Since(start))
	if len(controllersOf(t)) != 2 {
		t.Errorf("controllers after Gone: %v", controllersOf(t))
	}
}

func controllersOf(t *testing.T) []string {
	names, err := folderNames("/sys/class/nvme")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// From the moment when the array shows the namespace to the return of Attach,
// against the moment when udev has made the link.
func TestMachineTimeToAttach(t *testing.T) {
	tg := newTarget(t)
	tg.add(1, otherNGUID, noUUID, namespaceMB)
	tg.show(1)
	tg.attach(tg.connection(otherNGUID, namespaceMB))
	c := tg.connection(testNGUID, namespaceMB)
	tg.add(2, testNGUID, noUUID, namespaceMB)
	for range 10 {
		linked := make(chan time.Time, 1)
		go func() {
			if WaitPath(t.Context(), c.Path) == nil {
				linked <- time.Now()
			}
		}()
		shown := time.Now()
		tg.show(2)
		tg.attach(c)
		t.Logf("link after %s, attached after %s", (<-linked).Sub(shown), time.Since(shown))
		tg.leave(2, c)
	}
}

func TestMachineTargetWithoutEvents(t *testing.T) {
	tg := newTarget(t)
	tg.add(1, otherNGUID, noUUID, namespaceMB)
	tg.show(1)
	tg.attach(tg.connection(otherNGUID, namespaceMB))
	silence(t)
	c := tg.connection(testNGUID, namespaceMB)
	tg.add(2, testNGUID, noUUID, namespaceMB)
	tg.show(2)
	if _, err := Find(t.Context(), System(), c); !errors.Is(err, ErrNotAttached) {
		t.Errorf("the target sent an event: %v", err)
	}
	tg.attach(c)
	tg.grow(2, 2*namespaceMB, c)
	c.SizeBytes = 2 * namespaceMB
	tg.leave(2, c)
}

func TestMachineGrow(t *testing.T) {
	tg := newTarget(t)
	c := tg.connection(testNGUID, namespaceMB)
	tg.add(1, testNGUID, noUUID, namespaceMB)
	tg.show(1)
	tg.attach(c)
	tg.grow(1, 2*namespaceMB, c)
	c.SizeBytes *= 2
	if _, err := Find(t.Context(), System(), c); err != nil {
		t.Error(err)
	}
}

func (tg *target) grow(nsid int, sizeBytes int64, c Connection) {
	tg.t.Helper()
	path, err := os.ReadFile(tg.namespaceDir(nsid) + "/device_path")
	tg.must(err)
	tg.must(os.Truncate(strings.TrimSpace(string(path)), sizeBytes), setFile(tg.namespaceDir(nsid)+"/revalidate_size", "1"))
	c.SizeBytes = sizeBytes
	d, err := Grow(within(tg.t, 20*time.Second), System(), c)
	tg.must(err)
	f, err := os.Open(d.Path)
	tg.must(err)
	defer f.Close()
	if have, err := deviceBytes(f); have != sizeBytes || err != nil {
		tg.t.Errorf("the node has %d bytes, %v; want %d", have, err, sizeBytes)
	}
}

// Behind the NSID of the volume is another one, and the kernel does not know.
func TestMachineSwappedNamespace(t *testing.T) {
	tg := newTarget(t)
	c := tg.connection(testNGUID, namespaceMB)
	c.NVMe.NSID = 1
	tg.add(1, testNGUID, noUUID, namespaceMB)
	tg.show(1)
	d := tg.attach(c)
	silence(t)
	tg.hide(1)
	tg.add(1, otherNGUID, noUUID, namespaceMB)
	tg.show(1)
	if text, err := os.ReadFile("/sys/block/" + filepath.Base(d.Node) + "/nguid"); err != nil || !strings.Contains(string(text), dashed(testNGUID)) {
		t.Errorf("the kernel has noticed: %s, %v", text, err)
	}
	// Attach comes last: it has the kernel look, which then drops the device.
	for i, call := range []func(context.Context, Host, Connection) (Device, error){Find, Attach} {
		what := []string{"find", "attach"}[i]
		start := time.Now()
		got, err := call(within(t, 10*time.Second), System(), c)
		t.Logf("%s: %s: %v", what, time.Since(start), err)
		if !errors.Is(err, ErrWrongDevice) || !strings.Contains(err.Error(), otherNGUID) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	// The other volume is asked for at the NSID that the kernel takes for the first.
	other := tg.connection(otherNGUID, namespaceMB)
	other.NVMe.NSID = 1
	start := time.Now()
	tg.attach(other)
	t.Logf("the other volume after %s", time.Since(start))
}

func TestMachineNamespaceWithUUID(t *testing.T) {
	const rule = "/run/udev/rules.d/" + udevRule
	text, err := os.ReadFile(os.Getenv(inMachine)) // the packaged rule
	tg := newTarget(t)
	tg.must(err)
	_ = os.Remove(rule)
	run(t, "udevadm", "control", "--reload")
	c := tg.connection(testNGUID, namespaceMB)
	tg.add(1, testNGUID, "6e64eccb-994d-4384-9d49-8780aeec9ad1", namespaceMB)
	tg.show(1)
	start := time.Now()
	_, err = Attach(within(t, 20*time.Second), System(), c)
	t.Logf("without the rule after %s: %v", time.Since(start), err)
	if err == nil || !strings.Contains(err.Error(), udevRule) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without the rule: %v", err)
	}
	// The rule comes while the device is there.
	tg.must(os.MkdirAll(filepath.Dir(rule), 0o755), os.WriteFile(rule, text, 0o644))
	t.Cleanup(func() { os.Remove(rule) })
	run(t, "udevadm", "control", "--reload")
	start = time.Now()
	d := tg.attach(c)
	t.Logf("rule after the device: %s", time.Since(start))
	var s unix.Stat_t
	tg.must(unix.Stat(d.Node, &s))
	tg.leave(1, c)
	tg.show(1)
	start = time.Now()
	tg.attach(c)
	t.Logf("with the rule: %s", time.Since(start))
	tg.leave(1, c)
}

// A controller that somebody connected as another host is not ours, and stays.
func TestMachineForeignController(t *testing.T) {
	tg := newTarget(t)
	run(t, "modprobe", "nvme-tcp")
	run(t, "nvme", "connect", "-t", "tcp", "-a", "127.0.0.1", "-s", fmt.Sprint(targetPort), "-n", machineNQN,
		"--hostnqn", otherHostNQN, "--hostid", "11111111-7d7e-4c55-9d3e-0a1b2c3d4e5f")
	foreign := controllersOf(t)
	c := tg.connection(testNGUID, namespaceMB)
	tg.add(1, testNGUID, noUUID, namespaceMB)
	tg.show(1)
	tg.must(WaitPath(within(t, 20*time.Second), c.Path))
	if _, err := Find(t.Context(), System(), c); !errors.Is(err, ErrNotAttached) {
		t.Errorf("found through another host's controller: %v", err)
	}
	tg.attach(c)
	if n := len(controllersOf(t)); n != 3 {
		t.Errorf("%d controllers", n)
	}
	r := newNVMe(System())
	tg.must(r.Flush(t.Context(), c))
	tg.hide(1)
	tg.must(r.Gone(within(t, 20*time.Second), c))
	if !strings.Contains(strings.Join(controllersOf(t), " "), foreign[0]) {
		t.Errorf("%v is gone: %v", foreign, controllersOf(t))
	}
}

func TestMachineOnePortalRefuses(t *testing.T) {
	tg := newTarget(t)
	c := tg.connection(testNGUID, namespaceMB)
	tg.add(1, testNGUID, noUUID, namespaceMB)
	tg.show(1)
	tg.deaf(2)
	start := time.Now()
	d := tg.attach(c)
	t.Logf("%s, warning: %s", time.Since(start), d.Warning)
	if !strings.Contains(d.Warning, "127.0.0.2:4420") || !strings.Contains(d.Warning, "refused") {
		t.Errorf("warning %q", d.Warning)
	}
	tg.listen(2)
	if d := tg.attach(c); d.Warning != "" || len(controllersOf(t)) != 2 {
		t.Errorf("later: %q, controllers %v", d.Warning, controllersOf(t))
	}
}

func TestMachineHostNotAllowed(t *testing.T) {
	tg := newTarget(t)
	tg.must(setFile(tg.dir+"/attr_allow_any_host", "0"))
	_, err := Attach(within(t, 20*time.Second), System(), tg.connection(testNGUID, namespaceMB))
	t.Log(err)
	if err == nil || !strings.Contains(err.Error(), "lets in host "+hostNQN(t)) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestMachineInUse(t *testing.T) {
	tg := newTarget(t)
	c := tg.connection(testNGUID, namespaceMB)
	tg.add(1, testNGUID, noUUID, namespaceMB)
	tg.show(1)
	d := tg.attach(c)
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	tg.must(err)
	err = newNVMe(System()).Flush(within(t, 20*time.Second), c)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("open: %v", err)
	}
	tg.must(f.Close())
	run(t, "mkfs.ext4", "-q", d.Path)
	dir := t.TempDir()
	tg.must(unix.Mount(d.Node, dir, "ext4", 0, ""))
	_, err = Attach(within(t, 20*time.Second), System(), c)
	t.Log(err)
	if !errors.Is(err, ErrInUse) {
		t.Errorf("mounted: %v", err)
	}
	tg.must(unix.Unmount(dir, 0))
	tg.leave(1, c)
}

// The array was away, and the kernel is trying to reach it again: the device
// is there and does not answer. It is waited for, by the kernel's event.
func TestMachineControllersComeBack(t *testing.T) {
	tg := newTarget(t)
	c := tg.connection(testNGUID, namespaceMB)
	tg.add(1, testNGUID, noUUID, namespaceMB)
	tg.show(1)
	want := tg.attach(c)
	lost := watchKernel(t)
	tg.deaf(1)
	tg.deaf(2)
	lost(func() bool { return !strings.Contains(states(t), "live") })
	_, err := Attach(within(t, 2*time.Second), System(), c)
	t.Log(err)
	if _, ferr := Find(t.Context(), System(), c); ferr == nil || errors.Is(ferr, ErrNotAttached) {
		t.Errorf("find while the array is away: %v", ferr)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the array is away: %v", err)
	}
	tg.listen(1)
	start := time.Now()
	d := tg.attach(c) // the kernel tries every 10 s
	t.Logf("back after %s, warning: %s", time.Since(start), d.Warning)
	if d.Node != want.Node {
		t.Errorf("%+v, want %+v", d, want)
	}
}
