package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// killedAt says before which step the program "volbridge-killed" dies.
const killedAt = "VOLBRIDGE_KILLED_AT"

// mainUntilKilled is the program, which a power cut meets.
func mainUntilKilled() {
	left, err := strconv.Atoi(os.Getenv(killedAt))
	if err != nil {
		panic(err)
	}
	a := newApp()
	a.drivers = stepped(a.drivers, func(name string) error { a.step(name); return nil })
	a.step = func(name string) {
		if left > 0 {
			left--
			return
		}
		fmt.Fprintf(os.Stderr, "killed before: %s\n", name)
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {}
	}
	if err := a.run(context.Background(), os.Args); err != nil {
		a.report(err)
		os.Exit(1)
	}
}

// power is a host whose power fails at a step of a command.
type power struct {
	*testing.T
	program, dir, config string
	old                  string
}

func newPower(t *testing.T) *power {
	t.Helper()
	p := &power{T: t, dir: t.TempDir()}
	p.config = filepath.Join(p.dir, "volbridge.toml")
	t.Setenv("VOLBRIDGE_CONFIG", p.config)
	p.link()
	folder := filepath.Join(p.dir, "pool")
	p.must(os.Mkdir(folder, 0o700))
	p.old = fmt.Sprintf("# ours\nstate_dir = %q\nrun_dir = %q\nhost_name = \"kvm01\"\nhost_id = \"id1\"\n[pool.fast]\ntype = \"dir\"\npath = %q\n",
		filepath.Join(p.dir, "state"), filepath.Join(p.dir, "run"), folder)
	p.must(os.WriteFile(p.config, []byte(p.old), 0o600))
	p.does("", "pool", "init", "fast")
	return p
}

// link gives the program its name.
func (p *power) link() {
	p.Helper()
	p.program = filepath.Join(p.TempDir(), "volbridge-killed")
	self, err := os.Executable()
	p.must(err)
	p.must(os.Symlink(self, p.program))
}

func (p *power) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// until runs a command that dies before its n-th step, and returns which that
// was; "" if it had ended by then.
func (p *power) until(n int, stdin string, args ...string) (step, said string) {
	p.Helper()
	cmd := exec.Command(p.program, args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", killedAt, n))
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err == nil {
		return "", out.String()
	}
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		_, step, _ = strings.Cut(out.String(), "killed before: ")
		return strings.TrimSpace(step), out.String()
	}
	p.Fatalf("%v: %v: %s", args, err, &out)
	return "", ""
}

const never = 1 << 30

func (p *power) does(stdin string, args ...string) string {
	p.Helper()
	_, said := p.until(never, stdin, args...)
	return said
}

// secrets are the files of the folder of the secrets, with what they hold.
func (p *power) secrets() map[string]string {
	p.Helper()
	have := map[string]string{}
	files, err := filepath.Glob(filepath.Join(p.dir, "secrets", "*"))
	p.must(err)
	hidden, err := filepath.Glob(filepath.Join(p.dir, "secrets", ".*"))
	p.must(err)
	for _, file := range append(files, hidden...) {
		text, err := os.ReadFile(file)
		p.must(err)
		have[file] = string(text)
	}
	return have
}

// accounted fails unless each secret is whole and named by the configuration, or
// `pool check` says that nobody names it. What has no name of its own yet may be
// half of one.
func (p *power) accounted(when, text string) {
	p.Helper()
	said := p.does("", "pool", "check")
	for file, content := range p.secrets() {
		named := strings.Contains(text, strconv.Quote(file))
		if whole := content == "geheim\n"; !whole && !strings.HasPrefix(filepath.Base(file), ".") {
			p.Errorf("%s: %s holds %q", when, file, content)
		}
		if warned := strings.Contains(said, file+" holds a secret, and no pool names it"); warned == named {
			p.Errorf("%s: %s is named: %v, and pool check says\n%s", when, file, named, said)
		}
	}
	if strings.Contains(said, "geheim") {
		p.Errorf("%s: the secret is shown: %s", when, said)
	}
}

func (p *power) file() string {
	p.Helper()
	text, err := os.ReadFile(p.config)
	p.must(err)
	return string(text)
}

// flash is an array that does not answer.
const flash = "https://127.0.0.1:1/api?transport=nvme-tcp"

// `pool add` that is killed before any step leaves the old file or the new one,
// whole, and no secret of which nobody speaks. Then it can be done again.
func TestPoolAddKilled(t *testing.T) {
	for _, inline := range []bool{false, true} {
		seen := map[string]bool{}
		for n := 0; ; n++ {
			p := newPower(t)
			args := []string{"pool", "add", "flash", flash, "--no-check", "--secret-file", "-"}
			if inline {
				args = append(args, "--inline")
			}
			step, _ := p.until(n, "geheim", args...)
			if step == "" {
				break
			}
			seen[step] = true
			text := p.file()
			added := strings.HasPrefix(text, p.old) && strings.HasSuffix(text, "\n") && strings.Contains(text, "[pool.flash]")
			if !added && text != p.old {
				t.Errorf("before %s: the file is\n%s", step, text)
			}
			if added && !inline && p.secrets()[filepath.Join(p.dir, "secrets", "flash")] != "geheim\n" {
				t.Errorf("before %s: the pool is there, its secret is not: %v", step, p.secrets())
			}
			p.addedAgain(step, args)
		}
		for _, step := range []string{"create secret", "write secret", "sync secret", "name secret", "tidy secret", "sync secret's folder"} {
			if seen[step] == inline {
				t.Errorf("inline %v: the step %q was met: %v", inline, step, seen[step])
			}
		}
		for _, step := range []string{"create", "write", "sync", "rename", "sync folder"} {
			if !seen[step] {
				t.Errorf("inline %v: the step %q was not met", inline, step)
			}
		}
	}
}

// addedAgain repairs what a killed `pool add` has left as the messages say.
func (p *power) addedAgain(step string, args []string) {
	p.Helper()
	if strings.Contains(p.file(), "[pool.flash]") {
		p.allNamed(step)
	} else {
		p.accounted("before "+step, p.file())
		secret := filepath.Join(p.dir, "secrets", "flash")
		if _, left := p.secrets()[secret]; left {
			args = []string{"pool", "add", "flash", flash, "--no-check", "--secret-file", secret}
		}
		p.does("geheim", args...)
	}
	p.does("geheim", "pool", "add", "flash2", strings.Replace(flash, ":1/", ":2/", 1), "--no-check", "--secret-file", "-")
	entries, err := filepath.Glob(filepath.Join(p.dir, ".*"))
	p.must(err)
	for file := range p.secrets() {
		if strings.HasPrefix(filepath.Base(file), ".") {
			entries = append(entries, file)
		}
	}
	if len(entries) > 0 {
		p.Errorf("killed before %s, and added again: %v is left", step, entries)
	}
	p.does("", "pool", "remove", "flash")
	p.does("", "pool", "remove", "flash2")
	if text, left := p.file(), p.secrets(); text != p.old || len(left) > 0 {
		p.Errorf("killed before %s, added again and removed: %v is left, and\n%s", step, left, text)
	}
}

// allNamed fails unless the configuration names each secret, and it is whole.
func (p *power) allNamed(step string) {
	p.Helper()
	text := p.file()
	for file, content := range p.secrets() {
		if !strings.Contains(text, strconv.Quote(file)) || content != "geheim\n" {
			p.Errorf("before %s: %s holds %q, and the file is\n%s", step, file, content, text)
		}
	}
}

// The same of `pool remove`: a secret that is left is spoken of.
func TestPoolRemoveKilled(t *testing.T) {
	seen := map[string]bool{}
	for n := 0; ; n++ {
		p := newPower(t)
		p.does("geheim", "pool", "add", "flash", flash, "--no-check", "--secret-file", "-")
		with := p.file()
		step, _ := p.until(n, "", "pool", "remove", "flash")
		if step == "" {
			break
		}
		seen[step] = true
		switch text := p.file(); text {
		case with:
			p.allNamed(step)
			p.does("", "pool", "remove", "flash")
		case p.old:
			if len(p.secrets()) != 1 {
				t.Errorf("before %s: the secrets are %v", step, p.secrets())
			}
			p.accounted("before "+step, text)
		default:
			t.Errorf("before %s: the file is\n%s", step, text)
		}
	}
	for _, step := range []string{"create", "rename", "sync folder", "remove secret"} {
		if !seen[step] {
			t.Errorf("the step %q was not met: %v", step, seen)
		}
	}
}
