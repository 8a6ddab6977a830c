package dir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

func TestPlace(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a, link := filepath.Join(root, "a"), filepath.Join(root, "link")
	for _, err := range []error{os.Mkdir(a, 0o755), os.Symlink(root, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		one, two string
		same     bool
	}{
		{a, a + "/", true},
		{a, root + "/./b/../a", true},
		{a, link + "/a", true},
		{a, root, false},
		{a, root + "/b", false},
		{root + "/none", root + "//none", true},
	} {
		one, two := (&Settings{Path: c.one}).Place(), (&Settings{Path: c.two}).Place()
		if (one == two) != c.same || one == "" {
			t.Errorf("%s and %s: %q and %q, same %t", c.one, c.two, one, two, c.same)
		}
	}
	for _, path := range []string{"", "a"} {
		if place := (&Settings{Path: path}).Place(); place != "" {
			t.Errorf("path %q is at %q", path, place)
		}
	}
}

// Two pools on one folder would give each volume two names.
func TestTwoPoolsOnOneFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "volbridge.toml")
	text := "[pool.one]\ntype = 'dir'\npath = '" + dir + "'\n[pool.two]\ntype = 'dir'\npath = '" + dir + "/.'\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(file, []pool.Driver{Driver})
	if err == nil || !strings.Contains(err.Error(), "pool.two") || !strings.Contains(err.Error(), "those of [pool.one] already") {
		t.Error(err)
	}
}
