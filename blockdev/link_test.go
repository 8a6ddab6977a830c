package blockdev

import (
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
