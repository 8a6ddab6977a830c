package blockdev

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/testenv"
)

// appear runs the steps one after another while WaitPath waits.
func TestWaitPath(t *testing.T) {
	mkdir := func(p string) error { return os.Mkdir(p, 0o755) }
	file := func(p string) error { return os.WriteFile(p, nil, 0o600) }
	for _, c := range []struct {
		name  string
		steps func(dir string) []error
	}{
		{"file", func(d string) []error { return []error{file(d + "/want")} }},
		{"moved in", func(d string) []error { return []error{file(d + "/x"), os.Rename(d+"/x", d+"/want")} }},
		{"link then target", func(d string) []error {
			return []error{os.Symlink("sub/node", d+"/want"), mkdir(d + "/sub"), file(d + "/sub/node")}
		}},
		{"target then absolute link", func(d string) []error {
			return []error{file(d + "/node"), os.Symlink(d+"/node", d+"/want")}
		}},
		{"link up and down", func(d string) []error {
			return []error{mkdir(d + "/sub"), os.Symlink("sub/../node", d+"/want"), file(d + "/node")}
		}},
		{"wrong link replaced", func(d string) []error {
			return []error{os.Symlink("nowhere", d+"/want"), file(d + "/node"), os.Symlink("node", d+"/t"), os.Rename(d+"/t", d+"/want")}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			done := make(chan error, 1)
			go func() { done <- WaitPath(t.Context(), dir+"/want") }()
			if err := errors.Join(c.steps(dir)...); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWaitPathWithMissingParents(t *testing.T) {
	dir := t.TempDir()
	want := filepath.Join(dir, "a/b/c/want")
	done := make(chan error, 1)
	go func() { done <- WaitPath(t.Context(), want) }()
	for range 3 { // parents come, go, and come again
		if err := os.MkdirAll(filepath.Dir(want), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(want), 0o755), os.WriteFile(want, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitPathSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("node", dir+"/want"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := WaitPath(ctx, dir+"/want")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "for "+dir+"/want, but there is no "+dir+"/node") ||
		!strings.Contains(err.Error(), "waited ") {
		t.Errorf("%v", err)
	}
}

func TestWaitPathInALoopOfLinks(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Symlink("b", dir+"/a"), os.Symlink("a", dir+"/b")); err != nil {
		t.Fatal(err)
	}
	if err := WaitPath(t.Context(), dir+"/a"); err == nil || !strings.Contains(err.Error(), "too many links") {
		t.Errorf("%v", err)
	}
}

func TestWaitNodeInsistsOnABlockDevice(t *testing.T) {
	for _, path := range []string{"/dev/null", t.TempDir()} {
		if err := WaitNode(t.Context(), path); err == nil || !strings.Contains(err.Error(), "no block device") {
			t.Errorf("%s: %v", path, err)
		}
	}
	testenv.NeedRoot(t)
	if err := WaitNode(t.Context(), mustAttach(t, newVolume(t, "vol1")).Path); err != nil {
		t.Error(err)
	}
}
