package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/migrate"
	"github.com/volbridge/volbridge/pool"
)

// needHangup skips where this test itself runs under nohup, which its children
// inherit.
func needHangup(t *testing.T) {
	t.Helper()
	if signal.Ignored(unix.SIGHUP) {
		t.Skip("SIGHUP is ignored here")
	}
}

// takenBack fails unless the command has ended as one that took all back.
func (ta *testApp) takenBack(t *testing.T, cmd *exec.Cmd, copier int) {
	t.Helper()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitRolledBack {
		t.Errorf("%v: %v", cmd.ProcessState, cmd.Stderr)
	}
	gone(t, copier)
	if _, err := ta.try(t, "volume", "info", ta.pool+"/web"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("the volume is still there: %v", err)
	}
	ta.nothingLeft(t)
}

// Whoever reads what the command says has gone, and then it is interrupted.
func TestInterruptedWithoutAReader(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGPIPE} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			ta := deployApp(t)
			path, _ := ta.image(t, 6*mebi)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd, copier := hangingTo(t, w, "volume", "create", ta.pool+"/web", "--from", path)
			r.Close()
			w.Close()
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if sig == unix.SIGPIPE { // which alone ends nothing
				if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			ta.takenBack(t, cmd, copier)
		})
	}
}

// The terminal goes, as with a connection that breaks: the kernel tells the
// command so, and every further word to the terminal fails.
func TestTerminalGone(t *testing.T) {
	needHangup(t)
	ta := deployApp(t)
	path, _ := ta.image(t, 6*mebi)
	person, terminal := openTerminal(t)
	cmd, copier := hangingTo(t, terminal, "volume", "create", ta.pool+"/web", "--from", path)
	terminal.Close()
	person.Close()
	ta.takenBack(t, cmd, copier)
}

// Bars that cannot be drawn any more end nothing, new ones neither.
func TestBarsWithoutATerminal(t *testing.T) {
	person, terminal := openTerminal(t)
	b := newProgressBars(terminal)
	disk := []migrate.DiskProgress{{Target: "vda", DoneBytes: 1, TotalBytes: 2}}
	b.Progress(migrate.Progress{Disks: disk})
	person.Close()
	time.Sleep(500 * time.Millisecond) // it draws every 150
	b.Progress(migrate.Progress{Disks: disk, MemoryAllBytes: 2, MemoryLeftBytes: 1})
	b.Step("a word")
	b.close()
}

// nohup means what it says.
func TestNohup(t *testing.T) {
	ta := deployApp(t)
	path, _ := ta.image(t, 6*mebi)
	signal.Ignore(unix.SIGHUP)
	defer signal.Reset(unix.SIGHUP)
	cmd, copier := hanging(t, "volume", "create", ta.pool+"/web", "--from", path)
	if err := cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := unix.Kill(copier, 0); err != nil {
		t.Errorf("the copy ended: %v", err)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ta.takenBack(t, cmd, copier)
}

// `volume list | head` has what it wants: nothing is said of the rest.
func TestReaderOfAListGone(t *testing.T) {
	ta := newTestApp(t, "fast")
	ta.must(t, "volume", "create", "fast/web", "--size", "1MiB")
	program := filepath.Join(t.TempDir(), "volbridge")
	if err := os.Symlink(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"volume", "list"}, {"volume", "list", "-o", "json"}, {"--help"}, {"pool", "list"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := exec.Command(program, args...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &said
		err = cmd.Run()
		w.Close()
		if err != nil || said.Len() > 0 {
			t.Errorf("%s: %v, said %s", strings.Join(args, " "), err, said.String())
		}
	}
	// A full disk is no reader that has gone.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := exec.Command(program, "volume", "list")
	cmd.Stdout = full
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailure {
		t.Errorf("with a full disk: %v", err)
	}
}
