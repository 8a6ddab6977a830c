package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// call sends a request and input over a connection to the agent and collects
// what comes back.
func call(t *testing.T, input string, argv ...string) (out, errs string, end ending) {
	t.Helper()
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- serve(far) }()
	f := &frames{to: near}
	hello, err := json.Marshal(request{Argv: argv})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.send(kindRequest, hello); err != nil {
		t.Fatal(err)
	}
	go func() {
		// The program may end before it has read all.
		_, _ = stream{f, kindInput}.Write([]byte(input))
		_ = f.send(kindInput, nil)
	}()
	text := map[kind]*strings.Builder{kindOutput: {}, kindErrors: {}}
	for in := bufio.NewReader(near); ; {
		k, data, err := receive(in)
		if err != nil {
			t.Fatal(err)
		}
		if k == kindEnding {
			if err := json.Unmarshal(data, &end); err != nil {
				t.Fatal(err)
			}
			break
		}
		text[k].Write(data)
	}
	near.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	return text[kindOutput].String(), text[kindErrors].String(), end
}

func TestServe(t *testing.T) {
	big := strings.Repeat("x", 3*maxFrameBytes+1)
	for _, c := range []struct {
		name, input string
		argv        []string
		out, errs   string
		end         ending
	}{
		{"both outputs", "", []string{"sh", "-c", "echo o; echo e >&2; exit 5"}, "o\n", "e\n", ending{Code: 5}},
		{"input", big, []string{"cat"}, big, "", ending{}},
		{"signal", "", []string{"sh", "-c", "kill -9 $$"}, "", "", ending{Signal: unix.SIGKILL}},
	} {
		out, errs, end := call(t, c.input, c.argv...)
		if out != c.out || errs != c.errs || end != c.end {
			t.Errorf("%s: %d bytes %.20q, %q, %+v", c.name, len(out), out, errs, end)
		}
	}
	if _, _, end := call(t, "", "/no/such/program"); !strings.Contains(end.Error, "no such file") {
		t.Errorf("no such program: %+v", end)
	}
}

// FuzzReceive looks for frames that make the agent fall over.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("r\x00\x00\x00\x02{}"))
	f.Add([]byte("i\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, body, err := receive(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := (&frames{to: &again}).send(k, body); err != nil || !bytes.HasPrefix(data, again.Bytes()) {
			t.Errorf("%q became %q: %v", data, &again, err)
		}
	})
}
