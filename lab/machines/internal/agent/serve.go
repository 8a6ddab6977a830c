package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Serve runs programs for whoever connects, for ever (args: address that waits
// for this machine, what to say to it). It is a service of the machine.
func Serve(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: agent ADDRESS GREETING")
	}
	l, err := net.Listen("tcp", ":"+strconv.Itoa(Port))
	if err != nil {
		return err
	}
	if err := report(args[0], args[1]); err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if err := serve(c); err != nil {
				fmt.Fprintln(os.Stderr, "agent:", err)
			}
		}()
	}
}

// report tells the lab that this machine can run programs now.
func report(address, greeting string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return fmt.Errorf("report to the lab: %w", err)
	}
	defer c.Close()
	_, err = fmt.Fprintln(c, greeting)
	return err
}

func serve(c net.Conn) error {
	in := bufio.NewReader(c)
	k, data, err := receive(in)
	if err != nil {
		return err
	}
	var r request
	if err := json.Unmarshal(data, &r); err != nil || k != kindRequest || len(r.Argv) == 0 {
		return fmt.Errorf("no request: %c %q", k, data)
	}
	out := &frames{to: c}
	end, err := json.Marshal(run(r, in, out))
	if err != nil {
		return err
	}
	return out.send(kindEnding, end)
}

// run runs the program to its end. It has a process group of its own, so that
// what it started can be ended with it.
func run(r request, in io.Reader, out *frames) ending {
	cmd := exec.Command(r.Argv[0], r.Argv[1:]...)
	cmd.Dir = "/root"
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = stream{out, kindOutput}, stream{out, kindErrors}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return ending{Error: err.Error()}
	}
	g := &group{leader: cmd.Process.Pid}
	go obey(in, stdin, g)
	// The program's own end is reported; an output that broke is the far end's
	// matter.
	err = cmd.Wait()
	g.ended()
	if cmd.ProcessState == nil {
		return ending{Error: err.Error()}
	}
	how := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if how.Signaled() {
		return ending{Signal: how.Signal()}
	}
	return ending{Code: how.ExitStatus()}
}

// group is a program's process group for as long as the program lives. What
// the program leaves running when it ends is left alone.
type group struct {
	mu     sync.Mutex
	leader int // 0: ended
}

func (g *group) ended() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leader = 0
}

// signal sends a signal; a group that has just gone is no error.
func (g *group) signal(s unix.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leader != 0 {
		_ = unix.Kill(-g.leader, s)
	}
}

// obey passes input and signals on, and kills the program's group when the far
// end is gone. A program that no longer reads is no error.
func obey(in io.Reader, stdin io.WriteCloser, g *group) {
	for {
		k, data, err := receive(in)
		switch {
		case err != nil:
			g.signal(unix.SIGKILL)
			return
		case k == kindInput && len(data) == 0:
			_ = stdin.Close()
		case k == kindInput:
			_, _ = stdin.Write(data)
		case k == kindSignal && len(data) == 1:
			g.signal(unix.Signal(data[0]))
		}
	}
}
