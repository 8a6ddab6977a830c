package early

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestIsCall(t *testing.T) {
	for args, want := range map[string]bool{
		"web1 prepare begin -":                   true,
		"web1 release end shutdown":              true,
		"":                                       false,
		"--help":                                 false,
		"web1 prepare begin":                     false,
		"-test.v -test.run=X begin -test.count=": false,
		"-test.timeout=1m a begin b":             false,
		"a b c d":                                false,
	} {
		if got := isCall(strings.Fields(args)); got != want {
			t.Errorf("%q: %v", args, got)
		}
	}
}

func TestIdle(t *testing.T) {
	const managed = "<source dev='/dev/volbridge/fast/web1'/>"
	for name, c := range map[string]struct {
		op    string
		stdin io.Reader
		idle  bool
		kept  int
	}{
		"unmanaged":         {"prepare", strings.NewReader("<domain/>"), true, 9},
		"managed":           {"prepare", strings.NewReader(managed), false, len(managed)},
		"of no interest":    {"started", iotest.ErrReader(errors.New("read")), true, 0},
		"cannot be read":    {"prepare", iotest.ErrReader(errors.New("read")), false, 0},
		"too long to judge": {"prepare", strings.NewReader(strings.Repeat("x", maxBytes+2)), false, maxBytes + 1},
	} {
		stdin = nil
		if got := idle(c.op, "begin", c.stdin); got != c.idle || len(stdin) != c.kept {
			t.Errorf("%s: idle %v, kept %d bytes", name, got, len(stdin))
		}
	}
	stdin = nil
}
