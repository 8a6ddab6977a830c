package lab_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/labtest"
)

func run(t *testing.T, h *lab.Host, name string, args ...string) string {
	t.Helper()
	out, err := h.Run(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestHostsAreUpAndApart(t *testing.T) {
	testenv.NeedRoot(t)
	begin := time.Now()
	l := labtest.Start(t, lab.Options{Hosts: []lab.HostOptions{
		{Name: "kvm01", Files: map[string]lab.File{"/etc/volbridge/volbridge.toml": {Data: []byte("# one\n"), Mode: 0o600}}},
		{Name: "kvm02"},
	}})
	t.Logf("two hosts up after %v", time.Since(begin).Round(time.Millisecond))
	one, two := l.Host("kvm01"), l.Host("kvm02")

	for _, h := range l.Hosts() {
		if got := run(t, h, "hostname"); got != h.Name() {
			t.Errorf("host name is %q, want %q", got, h.Name())
		}
	}
	for _, file := range []string{"/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/etc/libvirt/libvirtd.conf"} {
		if run(t, one, "cat", file) == run(t, two, "cat", file) {
			t.Errorf("%s is the same on both hosts", file)
		}
	}
	if got := run(t, one, "stat", "-c", "%a", "/etc/volbridge/volbridge.toml"); got != "600" {
		t.Errorf("configuration has mode %s", got)
	}
	run(t, one, "mkdir", "-p", "/dev/volbridge/p", "/dev/disk/by-id", "/dev/drbd")
	run(t, one, "touch", "/var/lib/libvirt/images/x", "/etc/volbridge/x", "/var/lib/volbridge/x", "/run/x", "/etc/x")
	for _, path := range []string{"/dev/volbridge/p", "/dev/drbd", "/var/lib/libvirt/images/x", "/etc/volbridge/x", "/var/lib/volbridge/x", "/run/x", "/etc/x"} {
		if _, err := two.Run(t.Context(), "test", "!", "-e", path); err != nil {
			t.Errorf("%s of one host is on the other", path)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s of a host is on the machine", path)
		}
	}
	run(t, one, "touch", l.SharedDir()+"/x")
	run(t, two, "test", "-e", l.SharedDir()+"/x")
}

func TestLibvirtAnswersFromEverywhere(t *testing.T) {
	l := labtest.Hosts(t, "kvm01", "kvm02")
	one, two := l.Host("kvm01"), l.Host("kvm02")
	if got := run(t, one, "virsh", "-c", two.URI(), "hostname"); got != "kvm02" {
		t.Errorf("from kvm01 the other host is %q", got)
	}
	for _, uri := range []string{two.URI(), two.SocketURI()} {
		out, err := l.Command(t.Context(), "virsh", "-c", uri, "hostname").CombinedOutput()
		if strings.TrimSpace(string(out)) != "kvm02" || err != nil {
			t.Errorf("%s answers %q, %v", uri, out, err)
		}
	}
}

func TestProgramOnHostEndsAsItWould(t *testing.T) {
	l := labtest.Hosts(t, "kvm01")
	h := l.Host("kvm01")
	cmd := h.Command(t.Context(), "sh", "-c", "exit 7")
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("exit status is %v, want 7", err)
	}
	cmd = h.Command(t.Context(), "sh", "-c", "kill -9 $$")
	if err := cmd.Run(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("a killed program gives %v", err)
	}
	if _, err := h.Run(t.Context(), "no-such-program"); err == nil {
		t.Error("a missing program is no error")
	}

	// Killing the command kills what it runs: the pipe's last writer goes.
	cmd = h.Command(t.Context(), "sh", "-c", "echo ready; exec sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	if n, err := out.Read(buffer); string(buffer[:n]) != "ready\n" {
		t.Fatalf("got %q, %v", buffer[:n], err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if n, err := out.Read(buffer); n != 0 || err == nil {
		t.Errorf("after the kill: %q, %v", buffer[:n], err)
	}
	_ = cmd.Wait()
}

func TestHookIsInstalledAndCalled(t *testing.T) {
	script := t.TempDir() + "/hook"
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$1 $2 $3\" >> /run/hook-calls\ncat > /dev/null\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := labtest.Start(t, lab.Options{Hosts: []lab.HostOptions{{Name: "kvm01", HookDir: map[string]string{"50-test": script}}}})
	h := l.Host("kvm01")
	startTick(t, l, h, "tick")
	run(t, h, "virsh", "destroy", "tick")
	want := "tick prepare begin\ntick start begin\ntick started begin\ntick stopped end\ntick release end"
	if got := run(t, h, "cat", "/run/hook-calls"); got != want {
		t.Errorf("hook was called for:\n%s\nwant:\n%s", got, want)
	}
}

// startTick starts a tick guest from a qcow2 file of 64 MiB on the host's own
// storage and returns the file's path there and on the machine.
func startTick(t *testing.T, l *lab.Lab, h *lab.Host, name string) (inside, outside string) {
	t.Helper()
	inside, outside = "/var/lib/libvirt/images/"+name+".qcow2", h.ImagesDir()+"/"+name+".qcow2"
	if err := lab.WriteTickImage(t.Context(), outside, "qcow2", tickBytes, 1); err != nil {
		t.Fatal(err)
	}
	define(t, l, h, name, lab.FileDisk("vda", "qcow2", inside))
	run(t, h, "virsh", "start", name)
	if _, err := lab.WaitMore(t.Context(), l.SerialLog(name), 3); err != nil {
		t.Fatal(err)
	}
	return inside, outside
}

const tickBytes = 64 << 20

func define(t *testing.T, l *lab.Lab, h *lab.Host, name string, disks ...string) {
	t.Helper()
	g := lab.TickGuest{Name: name, Disks: disks, SerialLog: l.SerialLog(name)}
	if err := h.WriteFile("/run/"+name+".xml", []byte(g.XML()), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, h, "virsh", "define", "/run/"+name+".xml")
}
