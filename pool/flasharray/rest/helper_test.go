package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// helperEnv makes the test binary one of the many processes of a host.
const helperEnv = "VOLBRIDGE_REST_HELPER"

// helperJob is what such a process is to do: one call.
type helperJob struct{ URL, CAFile, SessionFile string }

func runHelper() bool {
	text := os.Getenv(helperEnv)
	if text == "" {
		return false
	}
	var j helperJob
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		fmt.Println(err)
		return true
	}
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n') // all start at once
	fmt.Println("result", j.call())
	return true
}

func (j helperJob) call() error {
	u, err := url.Parse(j.URL)
	if err != nil {
		return err
	}
	c, err := New(Options{URL: u, CAFile: j.CAFile, SessionFile: j.SessionFile, Credentials: byToken(testToken), Log: silent()})
	if err != nil {
		return err
	}
	return ask(context.Background(), c)
}

// helper is one process that waits for its start.
type helper struct {
	cmd *exec.Cmd
	in  interface{ Close() error }
	out *bufio.Reader
}

func startHelper(t *testing.T, j helperJob) helper {
	t.Helper()
	data, err := json.Marshal(j)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+string(data))
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	h := helper{cmd, in, bufio.NewReader(out)}
	if line := h.line(); line != "ready" {
		t.Fatalf("the process said %q", line)
	}
	return h
}

func (h helper) line() string {
	line, err := h.out.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(line, "\n")
}

// A hundred processes that start at once make one login, and one call each.
func TestProcessesShareOneLogin(t *testing.T) {
	const processes = 100
	a := newArray(t)
	file, _ := shared(t)
	j := helperJob{URL: a.URL, CAFile: a.caFile(), SessionFile: file}
	run := func(processes int) {
		var all []helper
		for range processes {
			all = append(all, startHelper(t, j))
		}
		for _, h := range all {
			must(t, h.in.Close())
		}
		for _, h := range all {
			if line := h.line(); line != "result <nil>" {
				t.Error(line)
			}
			must(t, h.cmd.Wait())
		}
	}
	run(processes)
	if calls := len(a.seen()); a.logins != 1 || calls != processes+2 {
		t.Errorf("%d logins, %d calls", a.logins, calls)
	}
	// The session ends while nobody looks: one renews it for all.
	a.expire()
	run(20)
	if a.logins != 2 {
		t.Errorf("%d logins", a.logins)
	}
}
