package state

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// BootID returns the kernel's id of the current boot; procRoot is "/proc".
func BootID(procRoot string) (string, error) {
	file := filepath.Join(procRoot, "sys/kernel/random/boot_id")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w: is %s mounted?", err, procRoot)
	}
	id := strings.TrimSpace(string(text))
	if id == "" {
		return "", fmt.Errorf("read the boot id: %s is empty", file)
	}
	return id, nil
}
