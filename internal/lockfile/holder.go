package lockfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// sign writes who holds the lock into it, for the error of those who wait in
// vain. It is only a help: a file system that refuses the bytes has still
// given the lock, so a failure here is none of the caller's.
func sign(f *os.File) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	text := fmt.Sprintf("pid %d (%s) on %s\n", os.Getpid(), filepath.Base(os.Args[0]), host)
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(text), 0)
	}
}

// holder says who signed the lock, as the tail of an error; empty when that
// cannot be known.
func holder(f *os.File) string {
	buf := make([]byte, 256)
	n, _ := f.ReadAt(buf, 0)
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.TrimSpace(string(buf[:n])))
	if text == "" {
		return ""
	}
	return ", held by " + text
}
