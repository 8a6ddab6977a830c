package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
)

const mebi = 1 << 20

// deployApp is a program with a pool of a name of its own, because the links of
// its devices are in the real /dev.
func deployApp(t *testing.T) *testApp {
	t.Helper()
	testenv.NeedRoot(t)
	if _, err := exec.LookPath("qemu-img"); err != nil {
		testenv.Missing(t, "qemu-img")
	}
	return newTestApp(t, fmt.Sprintf("test%d", os.Getpid()))
}

// disk is the file behind a volume.
func (ta *testApp) disk(t *testing.T, volume string) string {
	t.Helper()
	c, err := config.Load(os.Getenv("VOLBRIDGE_CONFIG"), ta.drivers)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(c.Path), "pool", volume, "disk.raw")
}

// image makes a qcow2 image and returns its path and content.
func (ta *testApp) image(t *testing.T, sizeBytes int) (path string, data []byte) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	data = make([]byte, sizeBytes)
	rand.Read(data[:sizeBytes/2])
	rand.Read(data[sizeBytes-9:])
	if err := os.WriteFile(raw, data, 0o600); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(filepath.Dir(raw), "web.qcow2")
	if out, err := exec.Command("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	return path, data
}

// nothingLeft fails if this host still has anything of the pool, or says that
// something must be recovered.
func (ta *testApp) nothingLeft(t *testing.T) {
	t.Helper()
	if out := ta.must(t, "recover", "--dry-run", "--connect", "test:///default"); !strings.Contains(out, "Nothing was left behind") {
		t.Errorf("recover:\n%s", out)
	}
	out, err := exec.Command("losetup", "--list", "--output", "BACK-FILE", "--noheadings").CombinedOutput()
	if err != nil || strings.Contains(string(out), filepath.Dir(filepath.Dir(ta.disk(t, "x")))) {
		t.Errorf("devices are left: %v\n%s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join("/dev/volbridge", ta.pool, "*")); len(left) > 0 {
		t.Errorf("links are left: %v", left)
	}
	// The upper folder may be another test's too.
	if os.Remove("/dev/volbridge/"+ta.pool) == nil {
		_ = os.Remove("/dev/volbridge")
	}
}

func TestCreateFromAndImport(t *testing.T) {
	ta := deployApp(t)
	path, data := ta.image(t, 6*mebi)
	ref := ta.pool + "/web"
	out := ta.must(t, "volume", "create", ref, "--from", path, "--size", "8MiB", "--compare")
	if !strings.Contains(out, "created volume "+ref+": 8MiB\n") || !strings.Contains(out, "and compared it") {
		t.Errorf("said:\n%s", out)
	}
	if said := ta.stderr.String(); !strings.Contains(said, "copied: 100%") || !strings.Contains(said, "compared: 100%") {
		t.Errorf("progress:\n%s", said)
	}
	whole := append(bytes.Clone(data), make([]byte, 2*mebi)...)
	if got, err := os.ReadFile(ta.disk(t, "web")); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("the volume does not hold the image: %v", err)
	}
	// Over data only when that is asked for, and then completely.
	if _, err := ta.try(t, "volume", "import", ref, path); exitCode(t.Context(), err) != exitRefused || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("import over data: %v", err)
	}
	if err := os.WriteFile(ta.disk(t, "web"), bytes.Repeat([]byte{0xee}, 8*mebi), 0o600); err != nil {
		t.Fatal(err)
	}
	var result importJSON
	if err := json.Unmarshal([]byte(ta.must(t, "volume", "import", ref, path, "--overwrite", "--quiet", "-o", "json")), &result); err != nil {
		t.Fatal(err)
	}
	if result.Image.Format != "qcow2" || result.Image.SizeBytes != 6*mebi || result.Name != "web" || ta.stderr.Len() > 0 {
		t.Errorf("%+v, and on stderr %q", result, ta.stderr.String())
	}
	if got, err := os.ReadFile(ta.disk(t, "web")); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("the volume does not hold the image: %v", err)
	}
	if _, err := ta.try(t, "volume", "create", ref, "--from", path); exitCode(t.Context(), err) != exitRefused {
		t.Errorf("create of what is there: %v", err)
	}
	ta.nothingLeft(t)
}

// A new volume takes only the space that the image has data.
func TestCreateFromIsSparse(t *testing.T) {
	ta := deployApp(t)
	path := filepath.Join(t.TempDir(), "thin.raw")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	ta.must(t, "volume", "create", ta.pool+"/thin", "--from", path, "--format", "raw")
	var st unix.Stat_t
	if err := unix.Stat(ta.disk(t, "thin"), &st); err != nil || st.Blocks*512 > 64<<10 {
		t.Errorf("%d bytes are allocated, %v", st.Blocks*512, err)
	}
	ta.nothingLeft(t)
}

// stubbed puts a qemu-img first in PATH that hangs where it would copy, and
// returns the pipe into which it then writes its process id.
func stubbed(t *testing.T) (path, pipe string) {
	t.Helper()
	real, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pipe = filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *host_device*) %s \"$@\"; echo $$ >%s; exec sleep 1000;; esac\nexec %s \"$@\"\n", real, pipe, real)
	if err := os.WriteFile(filepath.Join(dir, "qemu-img"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir + ":" + os.Getenv("PATH"), pipe
}

// hanging starts the program and returns when it copies.
func hanging(t *testing.T, args ...string) (cmd *exec.Cmd, copier int) {
	t.Helper()
	return hangingTo(t, &bytes.Buffer{}, args...)
}

// hangingTo is hanging with what it says going elsewhere; a terminal becomes its
// own one.
func hangingTo(t *testing.T, said io.Writer, args ...string) (cmd *exec.Cmd, copier int) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "volbridge")
	if err := os.Symlink(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	path, pipe := stubbed(t)
	cmd = exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "PATH="+path)
	cmd.Stderr = said
	if f, ok := said.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		cmd.Stdout = f
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	text, err := os.ReadFile(pipe)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &copier); err != nil {
		t.Fatalf("%v in %q; it said %s", err, text, said)
	}
	return cmd, copier
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 10_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			t.Fatalf("process %d still lives: %v", pid, err)
		}
		return
	}
}

// killed starts a copy, kills it where it hurts, and returns what recovery says.
func (ta *testApp) killed(t *testing.T, args ...string) string {
	t.Helper()
	cmd, copier := hanging(t, args...)
	// While it lives, recovery leaves it alone, and nobody else has the volume.
	if out := ta.must(t, "recover", "--connect", "test:///default"); !strings.Contains(out, "its command still runs") || strings.Contains(out, "done") {
		t.Errorf("recovery of a living copy:\n%s", out)
	}
	if out := ta.must(t, "volume", "info", ta.pool+"/web"); !strings.Contains(out, "Held by:        host kvm01 for a copy of an image (exclusive") || !strings.Contains(out, "for a copy of an image (held)") {
		t.Errorf("the volume is not held:\n%s", out)
	}
	if _, err := ta.try(t, "volume", "delete", ta.pool+"/web", "--yes"); exitCode(t.Context(), err) != exitRefused {
		t.Errorf("delete while it is written: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, copier) // what it started dies with it
	return ta.must(t, "recover", "--connect", "test:///default")
}

func TestKilledCreate(t *testing.T) {
	ta := deployApp(t)
	path, _ := ta.image(t, 6*mebi)
	out := ta.killed(t, "volume", "create", ta.pool+"/web", "--from", path)
	if !strings.Contains(out, "and delete the volume") {
		t.Errorf("recovery said:\n%s", out)
	}
	if _, err := ta.try(t, "volume", "info", ta.pool+"/web"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("the volume is still there: %v", err)
	}
	ta.nothingLeft(t)
}

func TestKilledImport(t *testing.T) {
	ta := deployApp(t)
	path, data := ta.image(t, 6*mebi)
	ref := ta.pool + "/web"
	ta.must(t, "volume", "create", ref, "--size", "6MiB")
	if err := os.WriteFile(ta.disk(t, "web"), bytes.Repeat([]byte{0xee}, 6*mebi), 0o600); err != nil {
		t.Fatal(err)
	}
	out := ta.killed(t, "volume", "import", ref, path, "--overwrite")
	if !strings.Contains(out, "nothing can start from that until an import into it succeeds") {
		t.Errorf("recovery said:\n%s", out)
	}
	got, err := os.ReadFile(ta.disk(t, "web"))
	if err != nil || !bytes.Equal(got[:mebi], make([]byte, mebi)) || !bytes.Equal(got[5*mebi:], make([]byte, mebi)) {
		t.Errorf("the volume looks like a disk: %v", err)
	}
	ta.must(t, "volume", "import", ref, path, "--overwrite", "--compare")
	if got, err := os.ReadFile(ta.disk(t, "web")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the second import is not exact: %v", err)
	}
	ta.nothingLeft(t)
}

// The records are gone with the state file: the lock still tells a living copy
// from a dead one.
func TestKilledWithoutRecords(t *testing.T) {
	ta := deployApp(t)
	path, _ := ta.image(t, 6*mebi)
	cmd, copier := hanging(t, "volume", "create", ta.pool+"/web", "--from", path)
	stateDir := filepath.Join(filepath.Dir(os.Getenv("VOLBRIDGE_CONFIG")), "state")
	if err := os.RemoveAll(stateDir); err != nil {
		t.Fatal(err)
	}
	if out := ta.must(t, "recover", "--connect", "test:///default"); strings.Contains(out, "done") {
		t.Errorf("recovery of a living copy:\n%s", out)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, copier)
	if out := ta.must(t, "recover", "--connect", "test:///default"); !strings.Contains(out, "return the grant") {
		t.Errorf("recovery said:\n%s", out)
	}
	ta.must(t, "volume", "delete", ta.pool+"/web", "--yes")
	ta.nothingLeft(t)
}

// Ctrl-C takes everything back, and says so with its exit code. So do the other
// signals by which a person or the system ends a command.
func TestInterruptedCreate(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			if sig == syscall.SIGHUP {
				needHangup(t)
			}
			ta := deployApp(t)
			path, _ := ta.image(t, 6*mebi)
			cmd, copier := hanging(t, "volume", "create", ta.pool+"/web", "--from", path)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			ta.takenBack(t, cmd, copier)
			if said := fmt.Sprint(cmd.Stderr); !strings.Contains(said, "volbridge: interrupted; volume "+ta.pool+"/web was deleted again\n") {
				t.Errorf("said %s", said)
			}
		})
	}
}

// So does a copy that fails.
func TestFailedCreate(t *testing.T) {
	ta := deployApp(t)
	path, _ := ta.image(t, 6*mebi)
	cmd, copier := hanging(t, "volume", "create", ta.pool+"/web", "--from", path)
	if err := syscall.Kill(copier, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitRolledBack {
		t.Errorf("ended with %d: %s", code, cmd.Stderr)
	}
	if said := fmt.Sprint(cmd.Stderr); strings.Contains(said, "interrupted") || !strings.Contains(said, "; volume "+ta.pool+"/web was deleted again\n") {
		t.Errorf("said %s", said)
	}
	ta.nothingLeft(t)
}

// A volume that a domain of this host has is not written.
func TestImportWhatADomainHas(t *testing.T) {
	ta := deployApp(t)
	path, _ := ta.image(t, mebi)
	ta.must(t, "volume", "create", ta.pool+"/web", "--size", "1MiB")
	attach(t, ta, ta.pool)
	for _, args := range [][]string{{}, {"--overwrite"}} {
		_, err := ta.try(t, append([]string{"volume", "import", ta.pool + "/web", path}, args...)...)
		if exitCode(t.Context(), err) != exitRefused || !strings.Contains(err.Error(), "shop") {
			t.Errorf("%v: %v", args, err)
		}
	}
	c, err := config.Load(os.Getenv("VOLBRIDGE_CONFIG"), ta.drivers)
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(t.Context(), c.StatePath(), "any")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if copies, err := store.Copies(t.Context()); err != nil || len(copies) > 0 {
		t.Errorf("records are left: %v, %v", copies, err)
	}
}
