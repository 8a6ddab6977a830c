package lockfile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const helperEnv = "LOCKFILE_TEST_HOLD"

// TestMain is also the other process of these tests: it takes the lock that
// it is told, says so, and holds it until it is killed or its input ends.
func TestMain(m *testing.M) {
	if path := os.Getenv(helperEnv); path != "" {
		release, err := Acquire(context.Background(), path)
		fmt.Println("locked", err)
		bufio.NewReader(os.Stdin).ReadString('\n')
		if release != nil {
			release()
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// holdElsewhere has another process hold the lock until the returned function
// kills it.
func holdElsewhere(t *testing.T, path string) (pid int, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "locked <nil>\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return cmd.Process.Pid, func() { cmd.Process.Kill(); cmd.Wait(); in.Close() }
}

func TestFileAndFoldersAreMadePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, "a.lock")
	release, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for name, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

func TestDeadlineNamesLockAndHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	pid, kill := holdElsewhere(t, path)
	defer kill()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Acquire(ctx, path)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	for _, part := range []string{"waited ", path, fmt.Sprintf("held by pid %d (%s)", pid, filepath.Base(os.Args[0]))} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestKilledHolderFreesTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	_, kill := holdElsewhere(t, path)
	if _, err := TryAcquire(path); !errors.Is(err, ErrHeld) {
		t.Fatalf("TryAcquire of a held lock: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		release, err := Acquire(t.Context(), path)
		if err == nil {
			err = release()
		}
		got <- err
	}()
	kill()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	release, err := TryAcquire(path)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// The waiter that was cancelled must not keep the lock that it gets later.
func TestCancelledWaiterGivesTheLockBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	release, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Acquire(ctx, path); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestReplacedFileIsNotTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	first, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{}, 8)
	got := make(chan func() error)
	go func() {
		release, err := AcquireFunc(t.Context(), path, func() (*os.File, error) {
			f, err := at(path)()
			opened <- struct{}{}
			return f, err
		})
		if err != nil {
			t.Error(err)
		}
		got <- release
	}()
	<-opened
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	first()
	release := <-got
	defer release()
	if _, err := TryAcquire(path); !errors.Is(err, ErrHeld) {
		t.Errorf("the lock at the path is free, so the waiter locked a removed file: %v", err)
	}
}

func TestFolderThatGoesIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gone", "a.lock")
	if _, err := TryAcquire(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestLinkIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.lock")
	if err := os.Symlink(filepath.Join(dir, "victim"), path); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(t.Context(), path); err == nil {
		t.Error("a lock was made through a link")
	}
}

func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	var inside, most atomic.Int32
	done := make(chan error)
	for range 20 {
		go func() {
			release, err := Acquire(t.Context(), path)
			if err == nil {
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				inside.Add(-1)
				err = release()
			}
			done <- err
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 1 {
		t.Errorf("%d at once", most.Load())
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	release, err := Folder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Folder(ended, dir); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second holder: %v", err)
	}
	release()
	release, err = Folder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	if _, err := Folder(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
