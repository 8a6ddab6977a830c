// Package settings checks what pools of several types are told in the same
// words: where a secret stands, files, hosts. It also reads the secrets.
package settings

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Findings are mistakes in a pool's settings: key → the first thing that is
// wrong with it, as a sentence that goes on after the key.
type Findings map[string]string

// Add notes a mistake, unless the key has one already.
func (f Findings) Add(key, text string) {
	if f[key] == "" {
		f[key] = text
	}
}

// File checks the path of a file or folder, which may be empty.
func (f Findings) File(key, file string) {
	if file != "" && !usablePath(file) {
		f.Add(key, fmt.Sprintf("%s, not %q", wantedPath, Clip(file)))
	}
}

const wantedPath = "must be an absolute path without control characters"

func usablePath(file string) bool {
	return filepath.IsAbs(file) && !strings.ContainsFunc(file, isControl)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// Clip keeps what others wrote short and on one line.
func Clip(text string) string {
	const most = 100
	text = strings.Map(func(r rune) rune {
		if isControl(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
