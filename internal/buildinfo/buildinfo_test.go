package buildinfo

import "testing"

func TestVersion(t *testing.T) {
	if got := Version("v1.2.3"); got != "v1.2.3" {
		t.Errorf("%q", got)
	}
	// A test is not made from a repository.
	for _, linked := range []string{"", "devel"} {
		if got := Version(linked); got == "" || got == "devel" {
			t.Errorf("%q: %q", linked, got)
		}
	}
}
