package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/migrate"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/drivers"
)

// testApp is the program with streams of the test and a dir pool of its own.
type testApp struct {
	*app
	stdout, stderr bytes.Buffer
	pool           string
}

func newTestApp(t *testing.T, poolName string) *testApp {
	t.Helper()
	dir := t.TempDir()
	folder := filepath.Join(dir, "pool")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("state_dir = %q\nrun_dir = %q\nhost_name = \"kvm01\"\nhost_id = \"id1\"\n[pool.%s]\ntype = \"dir\"\npath = %q\n",
		filepath.Join(dir, "state"), filepath.Join(dir, "run"), poolName, folder)
	file := filepath.Join(dir, "volbridge.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"LIBVIRT_DEFAULT_URI": "test:///default"}
	ta := &testApp{pool: poolName}
	ta.app = &app{
		in: strings.NewReader(""), out: &ta.stdout, err: &ta.stderr,
		getenv: func(k string) string { return env[k] }, drivers: drivers.All,
	}
	t.Setenv("VOLBRIDGE_CONFIG", file)
	ta.must(t, "pool", "init", poolName)
	ta.stdout.Reset()
	return ta
}

// try runs one command line and returns what it printed.
func (ta *testApp) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ta.stdout.Reset()
	ta.stderr.Reset()
	ta.global = globals{}
	err := ta.run(t.Context(), append([]string{"volbridge"}, args...))
	return ta.stdout.String(), err
}

func (ta *testApp) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := ta.try(t, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

func TestDeleteAsks(t *testing.T) {
	ta := newTestApp(t, "fast")
	for _, c := range []struct {
		answer  string
		deleted bool
	}{{"yes\n", true}, {" yes \n", true}, {"y\n", false}, {"\n", false}, {"", false}, {"no\n", false}, {"yes", true}} {
		if _, err := ta.try(t, "volume", "create", "fast/web", "--size", "1MiB"); err != nil && !errors.Is(err, pool.ErrExists) {
			t.Fatal(err)
		}
		ta.inTerminal, ta.in = true, strings.NewReader(c.answer)
		_, err := ta.try(t, "volume", "delete", "fast/web")
		if !strings.Contains(ta.stderr.String(), "Delete volume fast/web (1MiB) and all its data") {
			t.Errorf("asked %q", ta.stderr.String())
		}
		if (err == nil) != c.deleted {
			t.Errorf("answer %q: %v, want deleted %v", c.answer, err, c.deleted)
		}
		if err != nil && exitCode(t.Context(), err) != exitRefused {
			t.Errorf("answer %q: code %d", c.answer, exitCode(t.Context(), err))
		}
		if _, err := ta.try(t, "volume", "info", "fast/web"); errors.Is(err, pool.ErrNotFound) != c.deleted {
			t.Errorf("answer %q: afterwards %v", c.answer, err)
		}
	}
}

func TestExitCodes(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	failed := func(place migrate.Place, left error) error {
		return fmt.Errorf("x: %w", &migrate.FailedError{Cause: context.Canceled, Place: place, Undone: place == migrate.AtSource, Left: left})
	}
	for _, c := range []struct {
		err  error
		ctx  context.Context
		want int
	}{
		{nil, t.Context(), 0},
		{nil, interrupted, 0},
		{errors.New("x"), t.Context(), 1},
		{usagef("x"), t.Context(), 2},
		{withHint(usagef("x"), "y"), t.Context(), 2},
		{fmt.Errorf("x: %w", pool.ErrExists), t.Context(), 3},
		{&pool.HeldError{}, t.Context(), 3},
		{fmt.Errorf("x: %w", pool.ErrNoPool), t.Context(), 3},
		{&config.InvalidError{Problems: []config.Problem{{}}}, t.Context(), 3},
		{&migrate.Refusal{}, t.Context(), 3},
		{fmt.Errorf("x: %w", pool.ErrNotFound), t.Context(), 4},
		{fmt.Errorf("x: %w", virt.ErrNoDomain), t.Context(), 4},
		{fmt.Errorf("x: %w", bridge.ErrNoPool), t.Context(), 4},
		{failed(migrate.AtSource, nil), t.Context(), 5},
		{failed(migrate.AtSource, nil), interrupted, 5},
		{failed(migrate.AtSource, errors.New("left")), t.Context(), 6},
		{fmt.Errorf("x: %w", bridge.ErrLeft), t.Context(), 6},
		{errors.Join(pool.ErrNotFound, bridge.ErrLeft), t.Context(), 6},
		{context.Canceled, interrupted, 130},
	} {
		if got := exitCode(c.ctx, c.err); got != c.want {
			t.Errorf("exitCode(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestReorder(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"volume list", "volume list"},
		{"volume create fast/web --size 1GiB", "volume create --size 1GiB -- fast/web"},
		{"volume create fast/web --size=1GiB", "volume create --size=1GiB -- fast/web"},
		{"volume create --size 1GiB fast/web -o json", "-o json volume create --size 1GiB -- fast/web"},
		{"volume --config f delete fast/web -y", "--config f volume delete -y -- fast/web"},
		{"volume info -- -x --yes", "volume info -- -x --yes"},
		{"domain rewrite - --disk a=/b", "domain rewrite --disk a=/b -- -"},
		{"domain rewrite --disk a=/b --size 1 --disk c=/d x", "domain rewrite --disk a=/b --size 1 --disk c=/d -- x"},
		{"domain disks list", "domain disks -- list"},
		{"domain disks help", "domain disks -- help"},
		{"volume list --unknown fast", "volume list --unknown -- fast"},
		{"nothing at all", "nothing at all"},
		{"volume create --help", "volume create --help"},
		{"volume create --generate-bash-completion", "volume create --generate-bash-completion"},
	} {
		got, err := reorder((&app{}).cli(), strings.Fields("volbridge "+c.in))
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
		}
		if d := cmp.Diff("volbridge "+c.want, strings.Join(got, " ")); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.in, d)
		}
	}
	for _, in := range []string{"volume create --size", "-c", "migrate a b --to-pool"} {
		if _, err := reorder((&app{}).cli(), strings.Fields("volbridge "+in)); exitCode(t.Context(), err) != exitUsage {
			t.Errorf("%s: %v, want a usage error", in, err)
		}
	}
}

// TestHelp: every command explains itself, with an example whose command and
// flags there are.
func TestHelp(t *testing.T) {
	c := (&app{}).cli()
	examples := 0
	var walk func(path string, commands []*cli.Command)
	walk = func(path string, commands []*cli.Command) {
		for _, command := range commands {
			name := path + " " + command.Name
			if command.Usage == "" || !strings.Contains(command.Description, "Example") {
				t.Errorf("%s has no usage or no example", name)
			}
			for _, line := range strings.Split(command.Description, "\n") {
				if !strings.HasPrefix(line, "  ") || !strings.Contains(line, "volbridge ") {
					continue
				}
				_, line, _ = strings.Cut(line, "volbridge ")
				line, _, _ = strings.Cut(line, "#")
				examples++
				checkExample(t, c, name, strings.Fields(line))
			}
			for _, f := range command.Flags {
				if d, ok := f.(cli.DocGenerationFlag); !ok || d.GetUsage() == "" {
					t.Errorf("%s: flag %v has no usage", name, f.Names())
				}
			}
			walk(name, command.Subcommands)
		}
	}
	walk("volbridge", c.Commands)
	if examples < 15 {
		t.Errorf("only %d examples were found", examples)
	}
}

func checkExample(t *testing.T, c *cli.App, of string, words []string) {
	t.Helper()
	commands, flags := c.Commands, []cli.Flag(nil)
	for _, word := range words {
		if found := findCommand(commands, word); found != nil {
			commands, flags = found.Subcommands, found.Flags
		}
		if !strings.HasPrefix(word, "--") {
			continue
		}
		_, local := findFlag(flags, word)
		if _, global := findFlag(c.Flags, word); !local && !global {
			t.Errorf("%s: the example %v uses flag %s, which there is not", of, words, word)
		}
	}
	if len(commands) > 0 {
		t.Errorf("%s: the example %v names no command", of, words)
	}
}

func TestTable(t *testing.T) {
	ta := newTestApp(t, "fast")
	rows := [][]string{{"a\tb\nc", "", "\x1b[31mred"}}
	if err := ta.printTable([]string{"X", "LONGER", "Z"}, rows); err != nil {
		t.Fatal(err)
	}
	want := "X          LONGER  Z\n\"a\\tb\\nc\"  -       \"\\x1b[31mred\"\n"
	if d := cmp.Diff(want, ta.stdout.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	ta.stdout.Reset()
	ta.outTerminal = true
	if err := ta.printTable([]string{"X"}, nil); err != nil || ta.stdout.String() != "\x1b[1mX\x1b[0m\n" {
		t.Errorf("on a terminal: %q, %v", ta.stdout.String(), err)
	}
	ta.stdout.Reset()
	ta.global.NoColor = true
	if err := ta.printTable([]string{"X"}, nil); err != nil || ta.stdout.String() != "X\n" {
		t.Errorf("without colour: %q, %v", ta.stdout.String(), err)
	}
}
