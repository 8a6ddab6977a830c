package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"testing"
)

// The tests below run this binary again as other processes.
const roleVar = "STATE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "claim":
		exit(claimAll(os.Args[1], os.Args[2]))
	case "write":
		exit(writeForever(os.Args[1]))
	case "leave":
		exit(claimAndLeave(os.Args[1], os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	racers  = 8
	volumes = 60
)

// claimAll tries to claim every volume for its domain and prints what it won.
func claimAll(path, domain string) error {
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err // the line is the start signal
	}
	s, err := Open(context.Background(), path, boot1)
	if err != nil {
		return err
	}
	for i := range volumes {
		_, _, err := s.Claim(context.Background(), attachment(domain, fmt.Sprint("v", i), "exclusive"))
		switch {
		case err == nil:
			fmt.Println("won", i)
		case !errors.Is(err, ErrVolumeBusy):
			return err
		}
	}
	return s.Close()
}

func again(t *testing.T, role string, args ...string) *osexec.Cmd {
	cmd := osexec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	return cmd
}

// TestManyProcesses lets processes race from before the file exists: each
// volume must go to exactly one of them, and no one may fail.
func TestManyProcesses(t *testing.T) {
	path := statePath(t)
	var starts []io.WriteCloser
	var cmds []*osexec.Cmd
	outs := make([]strings.Builder, racers)
	errs := make([]strings.Builder, racers)
	for i := range racers {
		cmd := again(t, "claim", path, fmt.Sprint("dom", i))
		cmd.Stdout, cmd.Stderr = &outs[i], &errs[i]
		in, err := cmd.StdinPipe()
		check(t, err)
		check(t, cmd.Start())
		starts, cmds = append(starts, in), append(cmds, cmd)
	}
	for _, in := range starts {
		_, err := io.WriteString(in, "go\n")
		check(t, err)
	}
	won := map[string]int{}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v: %s", i, err, errs[i].String())
		}
		for _, line := range strings.Fields(strings.ReplaceAll(outs[i].String(), "won ", "")) {
			won[line]++
		}
	}
	for i := range volumes {
		if n := won[strconv.Itoa(i)]; n != 1 {
			t.Errorf("volume v%d was won %d times", i, n)
		}
	}
	all, err := open(t, path, boot1).All(t.Context())
	if err != nil || len(all) != volumes {
		t.Errorf("%d records, %v; want %d", len(all), err, volumes)
	}
}

// writeForever claims and forgets, and says so after each claim.
func writeForever(path string) error {
	s, err := Open(context.Background(), path, boot1)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		a := attachment("web", fmt.Sprint("v", i), "exclusive")
		if _, _, err := s.Claim(context.Background(), a); err != nil {
			return err
		}
		fmt.Println(i)
		if err := s.Update(context.Background(), a); err != nil {
			return err
		}
	}
}

// TestKilledWriter kills a process while it writes: what it said was recorded
// is there, in a sound file.
func TestKilledWriter(t *testing.T) {
	path := statePath(t)
	total := 0
	for round := range 10 {
		check(t, os.RemoveAll(path))
		check(t, os.RemoveAll(path+"-wal"))
		check(t, os.RemoveAll(path+"-shm"))
		cmd := again(t, "write", path)
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		lines := bufio.NewScanner(out)
		said := 0
		for lines.Scan() {
			if said++; said == 1+round*7 {
				check(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the writer ended by itself: %v", err)
		}
		s, err := Open(t.Context(), path, boot1)
		check(t, err)
		var verdict string
		check(t, s.db.QueryRow("PRAGMA integrity_check").Scan(&verdict))
		all, err := s.All(t.Context())
		if err != nil || verdict != "ok" || len(all) < said || len(all) > said+1 {
			t.Errorf("it said %d, %d are there; integrity: %s; %v", said, len(all), verdict, err)
		}
		check(t, s.Close())
		total += said
	}
	t.Logf("%d claims before the kills", total)
}

func BenchmarkOpenWriteClose(b *testing.B) {
	path := statePath(b)
	claim(b, open(b, path, boot1), attachment("web", "a", "exclusive"))
	for b.Loop() {
		s, err := Open(b.Context(), path, boot1)
		check(b, err)
		check(b, s.Update(b.Context(), attachment("web", "a", "exclusive")))
		check(b, s.Close())
	}
}
