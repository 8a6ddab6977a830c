// Package completion_test tries the completions in the real shells.
package completion_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/testenv"
)

// rig is a host with one pool, two volumes, and libvirt's test driver, whose one
// domain is "test".
func rig(t *testing.T) (env []string) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-tags", "libvirt_dlopen", "-o", bin+"/volbridge", "github.com/volbridge/volbridge/cmd/volbridge")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	config := filepath.Join(dir, "volbridge.toml")
	text := fmt.Sprintf("state_dir = %q\nrun_dir = %q\nhost_id = \"kvm01\"\n[pool.fast]\ntype = \"dir\"\npath = %q\n", dir+"/state", dir+"/run", dir+"/fast")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/fast", 0o700); err != nil {
		t.Fatal(err)
	}
	env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir, "VOLBRIDGE_CONFIG="+config,
		"LIBVIRT_DEFAULT_URI=test:///default", "TERM=dumb", "LC_ALL=C.UTF-8")
	for _, args := range []string{"pool init fast", "volume create fast/web1 --size 1MiB", "volume create fast/web2 --size 1MiB"} {
		cmd := exec.Command(bin+"/volbridge", strings.Fields(args)...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("volbridge %s: %v: %s", args, err, out)
		}
	}
	return env
}

// lines are what a shell offers for each command line. "*" stands for more.
var lines = []struct {
	words []string
	want  string
}{
	{[]string{"volbridge", "mig"}, "migrate"},
	{[]string{"volbridge", "volume", "re"}, "resize revoke"},
	{[]string{"volbridge", "migrate", "--auto-converge-i"}, "--auto-converge-increment --auto-converge-initial"},
	{[]string{"volbridge", "migrate", "te"}, "test"},
	{[]string{"volbridge", "migrate", "test", ""}, ""},
	{[]string{"volbridge", "migrate", "--to-pool", "f"}, "fast"},
	{[]string{"volbridge", "volume", "info", "fa"}, "fast/"},
	{[]string{"volbridge", "volume", "info", "fast/w"}, "fast/web1 fast/web2"},
	{[]string{"volbridge", "--output", ""}, "json text"},
	{[]string{"volbridge", "volume", "info", "nosuch/w"}, ""},
	{[]string{"volbridge", "nosuch", "x", ""}, ""},
	{[]string{"volbridge", "volume", "create", "fast/x", "--from", "./volbr"}, "./volbridge.toml"},
	{[]string{"volbridge", "--config", "/nosuch", "volume", "list", ""}, ""},
	{[]string{"volbridge", "--connect", "qemu+ssh://nosuch.invalid/system", "migrate", ""}, ""},
}

func shell(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		testenv.Missing(t, name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = env, home(env)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

func home(env []string) string {
	for _, e := range slices.Backward(env) {
		if dir, ok := strings.CutPrefix(e, "HOME="); ok {
			return dir
		}
	}
	return ""
}

func sorted(text string) string {
	words := strings.Fields(text)
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " ")
}

func TestBash(t *testing.T) {
	env := rig(t)
	script, _ := filepath.Abs("volbridge.bash")
	for _, l := range lines {
		args := append([]string{"--norc", "-c", `. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _volbridge; printf '%s\n' "${COMPREPLY[@]}"`, script}, l.words...)
		if got := sorted(shell(t, env, "bash", args...)); got != l.want {
			t.Errorf("%q: %q, want %q", l.words, got, l.want)
		}
	}
}

func TestFish(t *testing.T) {
	env := rig(t)
	script, _ := filepath.Abs("volbridge.fish")
	for _, l := range lines {
		out := shell(t, env, "fish", "--no-config", "-c", `source $argv[1]; complete -C $argv[2]`, script, strings.Join(l.words, " "))
		var got []string
		for line := range strings.Lines(out) {
			name, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			got = append(got, name)
		}
		if got := sorted(strings.Join(got, " ")); got != l.want {
			t.Errorf("%q: %q, want %q", l.words, got, l.want)
		}
	}
}

// zshScript types into an interactive zsh on a pseudo-terminal what a person
// would, and shows what came of it: only there does its completion run.
const zshScript = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1=; unsetopt zle_bracketed_paste prompt_cr; fpath=($1 \$fpath); autoload -U compinit && compinit -u -D; bindkey '^I' complete-word; setopt no_list_beep; print -r -- rea''dy"
zpty -r z out '*ready*'
shift
for typed; do
	zpty -w z "print -r -- END; $typed; print -r -- D''ONE"
	zpty -r z out '*DONE*'
	print -r -- "$out"
done
zpty -d z
`

func TestZsh(t *testing.T) {
	env := rig(t)
	dir, _ := filepath.Abs(".")
	for _, l := range [][2]string{
		{"volbridge reco\t --help", "volbridge recover - return what a crash has left"},
		{"volbridge volume inf\tfas\tweb1\t", "Path:      /dev/volbridge/fast/web1"},
		{"volbridge domain disks te\t --output js\t", "[]"},
		{"volbridge volume create fast/web3 --from ./volbr\t --size 2MiB --form\traw -n", "fast/web3"},
	} {
		out := shell(t, env, "zsh", "-f", "-c", zshScript, "zsh", dir, l[0])
		if !strings.Contains(out, l[1]) {
			t.Errorf("typed %q, got no %q: %s", l[0], l[1], out)
		}
	}
}
