package pooltest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

// helperEnv makes the test binary one of several processes on a pool.
const helperEnv = "VOLBRIDGE_POOLTEST_JOB"

// job is what another process is to do.
type job struct {
	Pool     string
	Settings json.RawMessage
	Do       string
	N        int // which process it is, from 0
}

// The answers of a job, on a line of their own that begins with answerMark.
const (
	answerMark = "pooltest:"
	ready      = "ready"
	won        = "won"
	lost       = "lost"
)

// runHelper does the job of this process if it was started for one.
func runHelper(t *testing.T, open func(t *testing.T) Fixture) bool {
	text := os.Getenv(helperEnv)
	if text == "" {
		return false
	}
	var j job
	must(t, json.Unmarshal([]byte(text), &j))
	f := Fixture{Driver: open(t).Driver, Pool: j.Pool}
	f.Settings = f.Driver.Settings()
	must(t, json.Unmarshal(j.Settings, f.Settings))
	b := f.backend(t)
	fmt.Println(answerMark + ready)
	bufio.NewReader(os.Stdin).ReadString('\n') // all start at once
	answer, err := j.run(t, b)
	must(t, err)
	fmt.Println(answerMark + answer)
	return true
}

func (j job) host() pool.Host {
	return host(fmt.Sprintf("racer%02d", j.N), fmt.Sprintf("6a0d6f0e-0000-4000-8000-1000000000%02d", j.N))
}

// owner: two domains in all, so that racers are rivals and companions.
func (j job) owner() pool.Owner {
	return []pool.Owner{dom1, dom2}[j.N%2]
}

func (j job) run(t *testing.T, b Provider) (string, error) {
	if err := initialise(t.Context(), b); err != nil {
		return "", err
	}
	switch j.Do {
	case "init":
		_, err := b.Create(t.Context(), pool.CreateRequest{Name: fmt.Sprintf("vol%d", j.N), SizeBytes: mib, CreationID: newID()})
		return outcome(err, false)
	case "grant":
		err := grant(t.Context(), b, "vol1", j.host(), j.owner(), pool.Exclusive)
		var held *pool.HeldError
		return outcome(err, errors.As(err, &held))
	case "create":
		_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vol1", SizeBytes: mib, CreationID: newID()})
		return outcome(err, errors.Is(err, pool.ErrExists))
	case "all":
		return "", j.everything(t, b)
	case "until killed":
		for {
			fmt.Println(answerMark + "round")
			if err := j.everything(t, b); err != nil {
				return "", err
			}
		}
	}
	return "", fmt.Errorf("unknown job %q", j.Do)
}

func outcome(err error, beaten bool) (string, error) {
	if err == nil {
		return won, nil
	}
	if beaten {
		return lost, nil
	}
	return "", err
}

// everything makes, grants, grows and deletes volumes that others make, grant,
// grow and delete too. Only the answers of the contract may come.
func (j job) everything(t *testing.T, b Provider) error {
	for i := range rounds {
		name := fmt.Sprintf("vol%d", (i+j.N)%3)
		_, create := b.Create(t.Context(), pool.CreateRequest{Name: name, SizeBytes: mib, CreationID: newID()})
		got := grant(t.Context(), b, name, j.host(), j.owner(), pool.Exclusive)
		if got == nil {
			if holders, err := b.Holders(t.Context(), name); err != nil {
				return fmt.Errorf("while we hold it: %w", err)
			} else if n := holding(holders, j.host()); n != 1 {
				return fmt.Errorf("we hold %s, but it says %v", name, holders)
			}
		}
		_, resize := b.Resize(t.Context(), name, int64(i+2)*mib)
		revoke := revoke(t.Context(), b, name, j.host())
		remove := b.Delete(t.Context(), name, "")
		_, list := b.List(t.Context())
		for what, err := range map[string]error{"create": create, "grant": got, "resize": resize, "revoke": revoke, "delete": remove, "list": list} {
			if !expected(err) {
				return fmt.Errorf("round %d: %s: %w", i, what, err)
			}
		}
	}
	return nil
}

func holding(holders []pool.Holder, h pool.Host) (n int) {
	for _, other := range holders {
		if same(other.Host, h) {
			n++
		}
	}
	return n
}

func expected(err error) bool {
	var held *pool.HeldError
	return err == nil || errors.As(err, &held) || errors.Is(err, pool.ErrExists) || errors.Is(err, pool.ErrNotFound) || errors.Is(err, pool.ErrShrink)
}

// race starts n processes with the same job, lets them go at once, and returns
// how often each answer came.
func race(t *testing.T, f Fixture, do string, n int) map[string]int {
	t.Helper()
	settings, err := json.Marshal(f.Settings)
	must(t, err)
	var racers []*racer
	for i := range n {
		racers = append(racers, startRacer(t, job{Pool: f.Pool, Settings: settings, Do: do, N: i}))
	}
	for _, r := range racers {
		if got := r.answer(); got != ready {
			t.Fatalf("a process said %q: %s", got, r.output.String())
		}
	}
	for _, r := range racers {
		_, err := io.WriteString(r.in, "go\n")
		must(t, err)
	}
	answers := map[string]int{}
	for _, r := range racers {
		answers[r.answer()]++
		io.Copy(&r.output, r.out)
		if err := r.cmd.Wait(); err != nil {
			t.Errorf("a process failed: %v\n%s", err, r.output.String())
		}
	}
	return answers
}

type racer struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	output strings.Builder
}

func startRacer(t *testing.T, j job) *racer {
	t.Helper()
	text, err := json.Marshal(j)
	must(t, err)
	top, _, _ := strings.Cut(t.Name(), "/")
	r := &racer{cmd: exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+top+"$", "-test.timeout=2m")}
	// A process that is killed cannot remove its temporary files.
	r.cmd.Env = append(os.Environ(), helperEnv+"="+string(text), "TMPDIR="+t.TempDir())
	r.cmd.Stderr = &r.output
	r.in, err = r.cmd.StdinPipe()
	must(t, err)
	out, err := r.cmd.StdoutPipe()
	must(t, err)
	r.out = bufio.NewReader(out)
	must(t, r.cmd.Start())
	return r
}

// answer reads up to the next answer; what else the process says is kept.
func (r *racer) answer() string {
	for {
		line, err := r.out.ReadString('\n')
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), answerMark); ok {
			return text
		}
		r.output.WriteString(line)
		if err != nil {
			return "no answer"
		}
	}
}

const (
	racers = 8
	rounds = 20
)

func testRaceGrant(t *testing.T, f Fixture, b Provider) {
	for range 3 {
		create(t, b, "vol1")
		if got := race(t, f, "grant", racers); got[won] != 1 || got[lost] != racers-1 {
			t.Errorf("answers %v; exactly one must win", got)
		}
		holders, err := b.Holders(t.Context(), "vol1")
		if err != nil || len(holders) != 1 {
			t.Fatalf("holders %v, %v", holders, err)
		}
		must(t, revoke(t.Context(), b, "vol1", holders[0].Host))
		must(t, b.Delete(t.Context(), "vol1", ""))
	}
}

func testRaceCreate(t *testing.T, f Fixture, b Provider) {
	for range 3 {
		if got := race(t, f, "create", racers); got[won] != 1 || got[lost] != racers-1 {
			t.Errorf("answers %v; exactly one must win", got)
		}
		must(t, b.Delete(t.Context(), "vol1", ""))
	}
	if volumes, err := b.List(t.Context()); err != nil || len(volumes) != 0 {
		t.Errorf("in the end %v, %v", volumes, err)
	}
}

func testRaceAll(t *testing.T, f Fixture, b Provider) {
	create(t, b, "vol0")
	if got := race(t, f, "all", 4); got[""] != 4 {
		t.Errorf("answers %v", got)
	}
	for i := range 3 {
		name := fmt.Sprintf("vol%d", i)
		must(t, b.Delete(t.Context(), name, ""))
	}
}
