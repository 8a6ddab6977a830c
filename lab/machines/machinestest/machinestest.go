// Package machinestest starts labs of machines for tests.
package machinestest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab/machines"
)

// Start starts a lab that ends with the test. Logs go to a directory of their
// own, which stays if the test fails; its name and the end of each log are
// printed then.
func Start(t testing.TB, o machines.Options) *machines.Lab {
	t.Helper()
	Need(t)
	var err error
	if o.LogDir, err = os.MkdirTemp("", "volbridge-machines-logs-"); err != nil {
		t.Fatal(err)
	}
	if o.Verbose == nil {
		o.Verbose = t.Output()
	}
	var l *machines.Lab
	t.Cleanup(func() {
		if l != nil {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			printLogs(t, o.LogDir)
			if l == nil { // last, where it is found
				t.Error(err)
			}
		} else if err := os.RemoveAll(o.LogDir); err != nil {
			t.Error(err)
		}
	})
	if l, err = machines.Start(t.Context(), o); err != nil {
		t.FailNow()
	}
	return l
}

// Need ends the test where machines cannot be started.
func Need(t testing.TB) {
	t.Helper()
	testenv.NeedRoot(t)
	dir, err := machines.ImageDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		testenv.Missing(t, "the image that scripts/machine-image.sh makes in "+dir)
	}
}

const tailBytes = 4000

func printLogs(t testing.TB, dir string) {
	t.Logf("the machines' logs are in %s", dir)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if text := string(data[max(0, len(data)-tailBytes):]); strings.TrimSpace(text) != "" {
			t.Logf("the end of %s:\n%s", path, text)
		}
		return err
	})
	if err != nil {
		t.Logf("read logs: %v", err)
	}
}
