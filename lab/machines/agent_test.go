//go:build machines

package machines_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/machinestest"
)

// TestMachine has one machine for everything that needs no other.
func TestMachine(t *testing.T) {
	l := machinestest.Start(t, machines.Options{Machines: []machines.Machine{{
		Name: "alone", Files: map[string]lab.File{"/opt/given": {Data: []byte("given"), Mode: 0o600}},
	}}})
	n := l.Node("alone")
	t.Run("identity", func(t *testing.T) { testIdentity(t, n) })
	t.Run("status", func(t *testing.T) { testStatus(t, n) })
	t.Run("streams", func(t *testing.T) { testStreams(t, n) })
	t.Run("cancel", func(t *testing.T) { testCancel(t, n) })
	t.Run("signal", func(t *testing.T) { testSignal(t, n) })
	t.Run("background", func(t *testing.T) { testBackground(t, n) })
	t.Run("files", func(t *testing.T) { testFiles(t, n) })
	t.Run("latency", func(t *testing.T) { testLatency(t, n) })
	t.Run("power", func(t *testing.T) { testPower(t, n) })
}

// TestBootFails has a machine whose QEMU ends: the error says how, and in which
// words.
func TestBootFails(t *testing.T) {
	machinestest.Need(t)
	_, err := machines.Start(t.Context(), machines.Options{
		Dir: filepath.Join(t.TempDir(), "lab"), LogDir: t.TempDir(),
		Machines: []machines.Machine{{Name: "large", MemoryMiB: 1 << 40}},
	})
	if err == nil {
		t.Fatal("it booted")
	}
	for _, want := range []string{"boot large", "it ended (exit status 1)", "Cannot allocate memory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func run(t *testing.T, n *machines.Node, script string) string {
	t.Helper()
	out, err := n.Shell(t.Context(), script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func testIdentity(t *testing.T, n *machines.Node) {
	got := run(t, n, "hostname; cat /opt/given; stat -c %a /opt/given; wc -c </etc/machine-id; ls /sys/class/net | tr '\n' ' '; getent hosts alone")
	want := "alone\ngiven600\n33\neth0 eth1 eth2 lo 10.78.0.11      alone"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func testStatus(t *testing.T, n *machines.Node) {
	for _, c := range []struct {
		program []string
		code    int
	}{
		{[]string{"true"}, 0},
		{[]string{"sh", "-c", "exit 3"}, 3},
		{[]string{"/no/such/program"}, 127},
		{[]string{"sh", "-c", "kill -USR1 $$"}, 128 + int(unix.SIGUSR1)},
	} {
		err := n.Command(t.Context(), c.program[0], c.program[1:]...).Run()
		var exit *exec.ExitError
		code := 0
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != c.code {
			t.Errorf("%v: exit status %d, want %d", c.program, code, c.code)
		}
	}
}

func testStreams(t *testing.T, n *machines.Node) {
	cmd := n.Command(t.Context(), "sh", "-c", "cat; echo to stderr >&2")
	input := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), input) || errs.String() != "to stderr\n" {
		t.Errorf("%d bytes came back of %d, stderr %q", out.Len(), len(input), &errs)
	}
}

// alive says which of the sleeps that a test has marked are running.
func alive(t *testing.T, n *machines.Node, mark string) bool {
	t.Helper()
	return run(t, n, "pgrep -fx 'sleep "+mark+"' || true") != ""
}

// dead returns once a marked sleep has ended.
func dead(t *testing.T, n *machines.Node, mark string) {
	t.Helper()
	run(t, n, "pid=$(pgrep -fx 'sleep "+mark+"') && timeout 30 tail --pid=$pid -f /dev/null || true")
	if alive(t, n, mark) {
		t.Errorf("sleep %s has outlived the command that ran it", mark)
	}
}

func testCancel(t *testing.T, n *machines.Node) {
	ctx, cancel := context.WithCancel(t.Context())
	cmd := n.Command(ctx, "sh", "-c", "echo up; sleep 1001 & wait")
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := said.Read(make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Error("a cancelled command succeeded")
	}
	dead(t, n, "1001")
}

func testSignal(t *testing.T, n *machines.Node) {
	// A signal that comes between the shell's fork and the sleep's exec is lost
	// on the sleep; it must not hold the output open then.
	cmd := n.Command(t.Context(), "sh", "-c", "trap 'exit 42' TERM; sleep 1002 >/dev/null 2>&1 & echo up; wait")
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := said.Read(make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 42 {
		t.Errorf("TERM was not passed on: %v", cmd.ProcessState)
	}
}

func testBackground(t *testing.T, n *machines.Node) {
	run(t, n, "sleep 1003 >/dev/null 2>&1 &")
	if !alive(t, n, "1003") {
		t.Error("a program in the background ended with the command that started it")
	}
}

func testFiles(t *testing.T, n *machines.Node) {
	dir := t.TempDir()
	local, back := filepath.Join(dir, "local"), filepath.Join(dir, "back")
	data := bytes.Repeat([]byte{0, 1, 2, 255}, 1<<20)
	if err := os.WriteFile(local, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Copy(t.Context(), local, "/new/dir/file", 0o750); err != nil {
		t.Fatal(err)
	}
	if mode := run(t, n, "stat -c %a /new/dir/file"); mode != "750" {
		t.Errorf("mode %s, want 750", mode)
	}
	if err := n.Fetch(t.Context(), "/new/dir/file", back); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(data), err)
	}
	if err := n.Fetch(t.Context(), "/no/such/file", back); err == nil {
		t.Error("a file that is not there was fetched")
	}
}

func testLatency(t *testing.T, n *machines.Node) {
	const runs = 20
	start := time.Now()
	for range runs {
		run(t, n, "true")
	}
	t.Logf("a program that does nothing: %v", (time.Since(start) / runs).Round(time.Millisecond))
}

func testPower(t *testing.T, n *machines.Node) {
	boot := run(t, n, "echo kept >/root/kept; sync; cat /proc/sys/kernel/random/boot_id")
	cmd := n.Command(t.Context(), "sleep", "1004")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a command on a machine without power succeeded")
	}
	if got := run(t, n, "cat /root/kept /proc/sys/kernel/random/boot_id"); !strings.HasPrefix(got, "kept\n") || strings.Contains(got, boot) {
		t.Errorf("after the reset: %q, the boot before was %s", got, boot)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Command(t.Context(), "true").Run(); err == nil {
		t.Error("a command on a machine that is off succeeded")
	}
	if err := n.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := run(t, n, "cat /root/kept; journalctl -k | grep -c 'EXT4-fs (vda): recovery complete' || true"); got != "kept\n0" {
		t.Errorf("after an orderly end: %q", got)
	}
}
