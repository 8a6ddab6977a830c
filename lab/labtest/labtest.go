// Package labtest starts labs for tests.
package labtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab"
)

// Start starts a lab that ends with the test. After a failure the end of each
// log of each host is printed.
func Start(t testing.TB, o lab.Options) *lab.Lab {
	t.Helper()
	testenv.NeedRoot(t)
	l, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			printLogs(t, l)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Hosts starts a lab with plain hosts of these names.
func Hosts(t testing.TB, names ...string) *lab.Lab {
	t.Helper()
	var o lab.Options
	for _, name := range names {
		o.Hosts = append(o.Hosts, lab.HostOptions{Name: name})
	}
	return Start(t, o)
}

const tailBytes = 4000

func printLogs(t testing.TB, l *lab.Lab) {
	for _, h := range l.Hosts() {
		err := filepath.WalkDir(h.LogDir(), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if text := string(data[max(0, len(data)-tailBytes):]); strings.TrimSpace(text) != "" {
				t.Logf("%s: %s:\n%s", h.Name(), filepath.Base(path), text)
			}
			return err
		})
		if err != nil {
			t.Logf("%s: read logs: %v", h.Name(), err)
		}
	}
}

// NeedRelease returns the release if its root file system is cached; otherwise
// the test is skipped, or fails in CI.
func NeedRelease(t testing.TB, release string) string {
	t.Helper()
	dir, err := lab.RootDir(release)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		testenv.Missing(t, "the root file system that scripts/"+release+"-root.sh makes in "+dir)
	}
	return release
}
