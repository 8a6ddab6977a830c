package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// TestInitIsCheap counts what packages do before main begins, in each call of
// the hook: such as compiling regular expressions that the call does not use.
func TestInitIsCheap(t *testing.T) {
	const most = 100 // allocations of a package; one expression takes some hundred
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	allocs := map[string]int{}
	line := regexp.MustCompile(`(?m)^init github\.com/volbridge/volbridge/(\S+) .* ([0-9]+) allocs$`)
	for _, m := range line.FindAllStringSubmatch(string(out), -1) {
		allocs[m[1]], _ = strconv.Atoi(m[2])
	}
	for _, name := range []string{"blockdev", "hooks", "internal/config", "pool/flasharray"} {
		if _, traced := allocs[name]; !traced {
			t.Errorf("package %s was not seen to begin: %s", name, out)
		}
	}
	for name, n := range allocs {
		if n > most {
			t.Errorf("package %s makes %d allocations before main, want at most %d: see internal/lazyregexp", name, n, most)
		}
	}
}
