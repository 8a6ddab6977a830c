//go:build machines

package scenario

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"

	"github.com/volbridge/volbridge/lab/machines"
)

// underway is a command that runs on a host while the test goes on, and that
// must fail in the end.
type underway struct {
	*site
	what  string
	cmd   *exec.Cmd
	lines *bufio.Scanner // of both its outputs
	said  strings.Builder
}

func (s *site) begin(h *machines.Node, args ...string) *underway {
	s.Helper()
	u := &underway{site: s, what: h.Name() + ": " + strings.Join(args, " "), cmd: h.Command(s.inTime(), args[0], args[1:]...)}
	out, err := u.cmd.StdoutPipe()
	s.must(err)
	u.cmd.Stderr = u.cmd.Stdout
	u.lines = bufio.NewScanner(out)
	s.must(u.cmd.Start())
	return u
}

// until returns once it has said such a line.
func (u *underway) until(such func(line string) bool) {
	u.Helper()
	for u.next() {
		if such(u.lines.Text()) {
			return
		}
	}
	u.Fatalf("%s: ended too early: %v\n%s", u.what, u.cmd.Wait(), &u.said)
}

func (u *underway) next() bool {
	more := u.lines.Scan()
	if more {
		fmt.Fprintln(&u.said, u.lines.Text())
	}
	return more
}

// refused waits for its end, and fails unless it has failed and says all of
// these. It returns all that it said.
func (u *underway) refused(says ...string) string {
	u.Helper()
	for u.next() {
	}
	if err := u.cmd.Wait(); err == nil {
		u.Fatalf("%s: succeeded:\n%s", u.what, &u.said)
	}
	for _, text := range says {
		if !strings.Contains(u.said.String(), text) {
			u.Errorf("%s: does not say %q:\n%s", u.what, text, &u.said)
		}
	}
	u.Logf("%s: failed as it must: %s", u.what, &u.said)
	return u.said.String()
}
