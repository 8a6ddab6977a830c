package blockdev

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A process that was killed between making a link and putting it in its place
// leaves nothing that the next call does not remove.
func TestUnfinishedLinkGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "volbridge", "pool", "vol")
	kill := func() {
		t.Helper()
		if err := os.Symlink("/dev/nowhere", unfinished(path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := openFolder(filepath.Dir(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	if err := openFolder(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func() error{
		"make": func() error { return makeLink(path, "/dev/loop99") },
		"drop": func() error { return dropLink(path) },
	} {
		kill()
		if err := call(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Lstat(unfinished(path)); !os.IsNotExist(err) {
			t.Errorf("%s: the unfinished link: %v, want it gone", what, err)
		}
	}
}

// udev takes links away while they are read: a link is there or it is not,
// and neither is an error.
func TestReadLinkWhileItGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "link")
	node := "/dev/nvme0n1"
	done := make(chan error, 1)
	go func() {
		for range 20000 {
			if err := errors.Join(os.Symlink(node, path), os.Remove(path)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for reads := 1; ; reads++ {
		if got, err := readLink(path); err != nil || got != "" && got != node {
			t.Fatalf("read %d: %q, %v", reads, got, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}
