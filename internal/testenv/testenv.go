// Package testenv says what a test needs of the machine that it runs on.
package testenv

import (
	"os"
	"testing"
)

// NeedRoot skips the test without root, and fails it where CI is set: there a
// skipped test would hide that it never ran.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	Missing(t, "root")
}

// Missing reports that the machine lacks what the test needs: a skip for a
// developer, a failure where CI is set.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("this test needs %s, and CI must not skip it", what)
	}
	t.Skipf("needs %s", what)
}
