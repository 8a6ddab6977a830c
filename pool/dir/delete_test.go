package dir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What NFS does with a lock file that is removed while it is held, the quick
// start for a folder sees in the lab.
func TestDropFolder(t *testing.T) {
	for _, c := range []struct {
		name  string
		holds []string // the folder; nil: it is not there
		err   error
		stays bool
	}{
		{"gone", nil, nil, false},
		{"empty", []string{}, nil, false},
		{"what NFS keeps", []string{".nfs000000000016007a00000003"}, nil, true},
		{"anything else", []string{".nfs000000000016007a00000003", "disk.raw"}, unix.ENOTEMPTY, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			folder := filepath.Join(dir, ".deleted-x")
			if c.holds != nil {
				must(t, os.Mkdir(folder, 0o700))
			}
			for _, file := range c.holds {
				must(t, os.WriteFile(filepath.Join(folder, file), nil, 0o600))
			}
			root, err := os.OpenRoot(dir)
			must(t, err)
			defer root.Close()
			if err := dropFolder(root, ".deleted-x"); !errors.Is(err, c.err) {
				t.Errorf("dropped with %v, want %v", err, c.err)
			}
			if _, err := os.Stat(folder); (err == nil) != c.stays {
				t.Errorf("the folder afterwards: %v", err)
			}
		})
	}
}
