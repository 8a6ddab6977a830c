package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// FindHost returns the process 1, as text, of a host of a lab that another
// process runs in directory dir, or, if dir is "", in any that Start has
// chosen. It must be the only one of that name.
func FindHost(dir, name string) (string, error) {
	if dir == "" {
		dir = filepath.Join(os.TempDir(), scratchPrefix+"*")
	}
	found, err := filepath.Glob(filepath.Join(dir, "hosts", name, pidFile))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("find host %s: there are %d of that name in %s; say which lab", name, len(found), dir)
	}
	text, err := os.ReadFile(found[0])
	return strings.TrimSpace(string(text)), err
}
