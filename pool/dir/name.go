package dir

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/volbridge/volbridge/pool"
)

const maxNameBytes = 100

// reserved are names in the directory that are no volumes.
var reserved = []string{markerName, "lost+found"}

// checkName refuses what cannot be a volume: names are folders here, part of
// device paths, and arguments of commands.
func checkName(name string) error {
	ok := name != "" && len(name) <= maxNameBytes && name[0] != '.' && name[0] != '-' &&
		!strings.ContainsFunc(name, func(r rune) bool { return !allowed(r) }) && !slices.Contains(reserved, name)
	if ok {
		return nil
	}
	shown := name
	if len(shown) > maxNameBytes {
		shown = shown[:maxNameBytes] + "…"
	}
	return fmt.Errorf("%w: %q; allowed are 1 to %d of the letters a to z and A to Z, digits and + _ . - = @ :, "+
		"with neither . nor - at the start, and not %s", pool.ErrInvalidName, shown, maxNameBytes, strings.Join(reserved, ", "))
}

func allowed(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+_.-=@:", r)
}

func isControl(r rune) bool { return unicode.IsControl(r) }
