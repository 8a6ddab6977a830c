package drbdsim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Main plays a tool if this process was started as one, and ends it then.
func Main() {
	tool := filepath.Base(os.Args[0])
	if tool != "drbdadm" && tool != "drbdsetup" {
		return
	}
	home := filepath.Dir(filepath.Dir(os.Args[0])) // DIR/HOST/sbin/drbdadm
	c := Cluster{filepath.Dir(home)}
	os.Exit(c.play(filepath.Base(home), tool, os.Args[1:]))
}

// refuse is what a tool does that is asked for what cannot be.
const refuse Mode = "refuse"

// said is a tool's refusal.
type said struct {
	exit  int
	words string
}

func (s said) Error() string { return s.words }

func (c Cluster) play(host, tool string, args []string) int {
	var out string
	var mode Mode
	err := c.Change(func(s *State) (err error) {
		s.Calls = append(s.Calls, host+": "+tool+" "+strings.Join(args, " "))
		if len(s.Calls) == s.Fault.At {
			mode, s.Fault = s.Fault.Mode, Fault{}
		}
		switch mode {
		case "", FailAfter, HangAfter, KillAfter, Outrun:
			out, err = call{s, host}.do(tool, args)
		}
		if mode == Outrun {
			mode = ""
			s.promoteOthers(host)
		}
		var refused said
		if errors.As(err, &refused) { // it is counted, and has changed nothing
			out, err = refused.words, nil
			if mode == "" {
				mode = refuse
			}
		}
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "drbdsim:", err)
		return 20
	}
	return c.end(mode, out)
}

func (s *State) promoteOthers(host string) {
	for _, r := range s.Resources {
		for name, replica := range r.Hosts {
			replica.Two = true
			if name != host {
				replica.Role = Primary
			}
		}
	}
}

func (c Cluster) end(mode Mode, out string) int {
	switch mode {
	case "":
		fmt.Print(out)
		return 0
	case refuse:
		fmt.Fprintln(os.Stderr, out)
		return 10
	case Nonsense:
		fmt.Println("drbd: what do you mean?")
		return 0
	case Hang, HangAfter:
		if err := os.WriteFile(c.Hung(), nil, 0o644); err != nil {
			return 20
		}
		for {
			_ = unix.Pause() // until it is killed
		}
	case Kill, KillAfter:
		_ = unix.Kill(unix.Getppid(), unix.SIGKILL) // the test finds out
	}
	fmt.Fprintln(os.Stderr, "drbdsim: it broke")
	return 20
}
