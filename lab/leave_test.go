package lab_test

import (
	"bufio"
	"encoding/json"
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

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/internal/loops"
)

// traces is by what a lab would be found after its end.
type traces struct {
	Dir        string
	Keeper     int
	Hosts      []int
	Namespaces []string // as in /proc/PID/ns
	Loops      []loops.Device
	Links      string // the machine's network devices
	Mounts     string // the machine's mounts
}

// busyLab starts a lab and leaves all the kinds of things in it that must go:
// a guest, a bound loop device on shared and on private storage and of a
// deleted file, a visitor in its network.
func busyLab(t *testing.T) (*lab.Lab, traces) {
	t.Helper()
	tr := traces{Links: links(t), Mounts: mounts(t)}
	l, err := lab.Start(t.Context(), lab.Options{Hosts: []lab.HostOptions{{Name: "kvm01"}, {Name: "kvm02"}}})
	if err != nil {
		t.Fatal(err)
	}
	h := l.Host("kvm01")
	startTick(t, l, h, "tick")
	for _, file := range []string{l.SharedDir() + "/a", "/var/lib/libvirt/images/b", l.SharedDir() + "/deleted"} {
		run(t, h, "truncate", "-s", "1M", file)
		bindLoop(t, h, file)
	}
	run(t, h, "rm", l.SharedDir()+"/deleted")
	visit(t, l)

	tr.Dir, tr.Keeper = l.Dir(), l.PID()
	for _, h := range l.Hosts() {
		tr.Hosts = append(tr.Hosts, h.PID())
	}
	for _, pid := range append(tr.Hosts, tr.Keeper) {
		for _, kind := range []string{"net", "mnt"} {
			tr.Namespaces = append(tr.Namespaces, namespace(t, pid, kind))
		}
	}
	tr.Loops = loopsOf(t, l)
	if len(tr.Loops) != 3 {
		t.Fatalf("the lab has loop devices %v, want 3", tr.Loops)
	}
	return l, tr
}

// visit leaves a program running in the lab's network.
func visit(t *testing.T, l *lab.Lab) {
	t.Helper()
	visitor := l.Command(t.Context(), "sh", "-c", "echo here; exec sleep 1000")
	out, err := visitor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := visitor.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "here\n" {
		t.Fatalf("visitor says %q, %v", line, err)
	}
	go visitor.Wait()
}

func bindLoop(t *testing.T, h *lab.Host, file string) string {
	t.Helper()
	return run(t, h, "losetup", "--find", "--show", file)
}

// loopsOf lists the bound devices on the lab's files while its hosts are up.
func loopsOf(t *testing.T, l *lab.Lab) []loops.Device {
	t.Helper()
	all, err := loops.Bound()
	if err != nil {
		t.Fatal(err)
	}
	files, err := loops.Files(l.Dir())
	if err != nil {
		t.Fatal(err)
	}
	var own []loops.Device
	for _, d := range all {
		if d.Under(l.Dir()) || files[d.File] {
			own = append(own, d)
		}
	}
	return own
}

func namespace(t *testing.T, pid int, kind string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func links(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ip", "-brief", "link").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func mounts(t *testing.T) string {
	t.Helper()
	out, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// wantNothing fails for everything that is left of the lab.
func (tr traces) wantNothing(t *testing.T) {
	t.Helper()
	if _, err := os.Lstat(tr.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory %s is still there (%v)", tr.Dir, err)
	}
	bound, err := loops.Bound()
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range bound {
		for _, then := range tr.Loops {
			if now.Node == then.Node && now.File == then.File {
				t.Errorf("loop device is still bound: %+v", now)
			}
		}
	}
	found, err := filepath.Glob("/proc/[0-9]*/ns/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		link, err := os.Readlink(path)
		for _, ns := range tr.Namespaces {
			if err == nil && link == ns {
				t.Errorf("a process is still in the lab: %s is %s", path, ns)
			}
		}
	}
	if now := links(t); now != tr.Links {
		t.Errorf("network devices were\n%snow\n%s", tr.Links, now)
	}
	if now := mounts(t); now != tr.Mounts {
		t.Errorf("mounts were\n%snow\n%s", tr.Mounts, now)
	}
}

// awaitEnd waits for a process of another parent.
func awaitEnd(t *testing.T, pidfd int) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 30_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("process has not ended: %v", err)
		}
		return
	}
}

func pidfd(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestCloseLeavesNothing(t *testing.T) {
	testenv.NeedRoot(t)
	l, tr := busyLab(t)
	begin := time.Now()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("closed in %v", time.Since(begin).Round(time.Millisecond))
	tr.wantNothing(t)
	if err := l.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// TestKilledTestLeavesNothing kills a process that runs a lab.
func TestKilledTestLeavesNothing(t *testing.T) {
	testenv.NeedRoot(t)
	child := exec.Command(os.Args[0], "-test.run=^TestRunLabAsChild$", "-test.v")
	child.Env = append(os.Environ(), childEnv+"=1")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	tr := readTraces(t, out)
	keeper := pidfd(t, tr.Keeper)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	awaitEnd(t, keeper)
	tr.wantNothing(t)
}

const childEnv, tracesPrefix = "LAB_TEST_CHILD", "traces: "

func readTraces(t *testing.T, out io.Reader) traces {
	t.Helper()
	lines := bufio.NewScanner(out)
	var said []string
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), tracesPrefix); ok {
			var tr traces
			if err := json.Unmarshal([]byte(text), &tr); err != nil {
				t.Fatal(err)
			}
			return tr
		}
		said = append(said, lines.Text())
	}
	t.Fatalf("the child has no lab; it said:\n%s", strings.Join(said, "\n"))
	return traces{}
}

// TestRunLabAsChild is the process to be killed; it ends with its parent.
func TestRunLabAsChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		return
	}
	l, tr := busyLab(t)
	text, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s%s\n", tracesPrefix, text)
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestKilledKeeper has the hosts end with it, and Close remove the rest.
func TestKilledKeeper(t *testing.T) {
	testenv.NeedRoot(t)
	l, tr := busyLab(t)
	var hosts []int
	for _, pid := range tr.Hosts {
		hosts = append(hosts, pidfd(t, pid))
	}
	if err := unix.Kill(tr.Keeper, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, host := range hosts {
		awaitEnd(t, host)
	}
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("close gives %v, want the keeper's end", err)
	}
	tr.wantNothing(t)
}

// TestFailedStart has the error say what libvirtd said, and nothing left.
func TestFailedStart(t *testing.T) {
	testenv.NeedRoot(t)
	dir, err := os.MkdirTemp("", "lab-test-")
	if err != nil {
		t.Fatal(err)
	}
	_, err = lab.Start(t.Context(), lab.Options{Dir: dir, Hosts: []lab.HostOptions{{
		Name:  "kvm01",
		Files: map[string]lab.File{"/etc/libvirt/qemu.conf": {Data: []byte("user = \"nobody-of-this-name\"\n")}},
	}}})
	if err == nil || !strings.Contains(err.Error(), "nobody-of-this-name") {
		t.Errorf("start gives %v, want libvirtd's own words", err)
	}
	traces{Dir: dir, Links: links(t), Mounts: mounts(t)}.wantNothing(t)
}
