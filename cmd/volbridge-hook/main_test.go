package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/testenv"
)

const scratch = "/run/scratch"

// TestMain runs the tests of the compiled hook with a private /etc, /run and
// /var/lib: the hook's paths are fixed, as libvirt gives it no environment.
// Without root there are no such tests.
func TestMain(m *testing.M) {
	testenv.Private("/run", "/var/lib")
	if os.Geteuid() == 0 {
		if err := ownEtc(); err != nil {
			fmt.Fprintln(os.Stderr, "a private /etc for the tests:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// ownEtc lays an empty layer over /etc, which takes what is written there.
func ownEtc() error {
	upper, work := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work")
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return unix.Mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir="+upper+",workdir="+work)
}
