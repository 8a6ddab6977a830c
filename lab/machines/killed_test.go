//go:build machines

package machines_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/internal/pidfd"
)

const childEnv = "VOLBRIDGE_TEST_LAB_DIR"

// TestKilled kills a process that runs a lab: nothing of the lab is left.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		runUntilKilled(t, dir)
		return
	}
	dir := filepath.Join(t.TempDir(), "lab")
	child := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-test.v")
	child.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	keeper := waitForKeeper(t, out)
	ended, err := pidfd.Watch(keeper)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	<-ended
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
	if left := processesNaming(t, dir); len(left) != 0 {
		t.Errorf("still running: %v", left)
	}
}

const upLine = "lab of keeper "

func runUntilKilled(t *testing.T, dir string) {
	l, err := machines.Start(t.Context(), machines.Options{Dir: dir, Machines: []machines.Machine{{Name: "alone"}}})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(upLine + fmt.Sprint(l.PID()))
	select {} // the parent kills us
}

func waitForKeeper(t *testing.T, out interface{ Read([]byte) (int, error) }) int {
	t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if number, found := strings.CutPrefix(lines.Text(), upLine); found {
			var pid int
			if _, err := fmt.Sscan(number, &pid); err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatal("the child ended before its lab was up")
	return 0
}

// processesNaming lists the processes whose arguments name a directory.
func processesNaming(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(line), dir) && !strings.HasPrefix(file, fmt.Sprintf("/proc/%d/", os.Getpid())) {
			found = append(found, file+": "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
