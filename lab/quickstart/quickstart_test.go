package quickstart

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// here runs scripts on this machine, whichever host is meant.
func here(t *testing.T) Shell {
	dir := t.TempDir()
	return func(ctx context.Context, _, script string) (string, int, error) {
		cmd := exec.CommandContext(ctx, "bash", "-c", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return string(out), exit.ExitCode(), nil
		}
		return string(out), 0, err
	}
}

func block(lines ...string) string {
	return "# A quick start\n\n```console\n" + strings.Join(lines, "\n") + "\n```\n"
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name, text string
		wrong      []string // what the error says; none: it does what it says
	}{
		{"as it is shown", block("kvm01# echo one; echo two >&2", "one", "two", "kvm02# true"), nil},
		{"another output", block("kvm01# true", "kvm02# echo 19GiB", "20GiB"), []string{"doc.md:5: kvm02# echo 19GiB", "    20GiB\n", "    19GiB\n"}},
		{"more than is shown", block("kvm01# echo one; echo two", "one"), []string{"    two\n"}},
		{"less than is shown", block("kvm01# echo one", "one", "two"), []string{"    two\n"}},
		{"something where nothing is shown", block("kvm01# echo warning: it rots"), []string{"(nothing)", "warning: it rots"}},
		{"nothing where something is shown", block("kvm01# true", "done"), []string{"    done\n", "(nothing)"}},
		{"a command that fails", block("kvm01# echo no such pool; exit 4"), []string{"ended with 4", "no such pool"}},
		{"a failure that is shown", block("kvm01# echo held; exit 3", "held", "kvm01# echo $?", "3"), nil},
		{"a failure that is shown with another code", block("kvm01# exit 3", "kvm01# echo $?", "4"), []string{"doc.md:5", "    3\n"}},
		{"a failure that is shown for another host", block("kvm01# exit 3", "kvm02# echo $?", "0"), []string{"doc.md:4", "ended with 3"}},
		{"a failure in the output of which something differs", block("kvm01# echo held; exit 3", "free", "kvm01# echo $?", "3"), []string{"    held\n"}},
		{"the last code of each host", block("kvm01# exit 3", "kvm01# echo $?", "3", "kvm02# echo $?", "0"), nil},
		{"what varies in a line", block("kvm01# echo created in 2.3s on kvm01", "created in …s on …"), nil},
		{"what varies is something", block("kvm01# echo created in s", "created in …s"), []string{"created in s"}},
		{"what varies does not hide the rest", block("kvm01# echo created in 2.3s on kvm01", "created in …s on kvm02"), []string{"on kvm01"}},
		{"what varies ends with the line", block("kvm01# echo a; echo b", "a…b"), []string{"    b\n"}},
		{"signs are no patterns", block("kvm01# echo 2x3", "2.3"), []string{"2x3"}},
		{"lines that vary", block("kvm01# seq 5", "1", "…", "5"), nil},
		{"no lines that vary", block("kvm01# seq 2", "1", "…", "2"), nil},
		{"lines that vary before the wrong one", block("kvm01# seq 5", "…", "6"), []string{"    5\n"}},
		{"blanks at the end", block("kvm01# printf 'one  \\n\\n'", "one", "", "kvm01# true"), nil},
		{"a here-document", block("kvm01# cat >a.xml <<'EOF'", "<a b='$HOME'/>", "", "  kvm02# no prompt", "EOF", "kvm01# cat a.xml",
			"<a b='$HOME'/>", "", "  kvm02# no prompt"), nil},
		{"a here-document that the shell fills", block("kvm01# cat <<EOF", "<a b='$(echo c)'/>", "EOF", "<a b='c'/>"), nil},
		{"no here-document", block("kvm01# cat <<<one", "one", "kvm01# cat <<<'two'", "two"), nil},
		{"two lines", block(`kvm01# echo one \`, "    two", "one two"), nil},
		{"a here-document behind two lines", block(`kvm01# cat \`, "<<EOF", "one", "EOF", "one"), nil},
		{"a block that is not run", "```text\nkvm01# exit 1\n```\n" + block("kvm01# true"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Parse("doc.md", c.text, "kvm01", "kvm02")
			if err != nil {
				t.Fatal(err)
			}
			says(t, d.Run(t.Context(), here(t), func(Step) error { return nil }), c.wrong)
		})
	}
}

// says fails unless the error has all of these, or there is none and none is
// wanted.
func says(t *testing.T, err error, want []string) {
	t.Helper()
	if err == nil || len(want) == 0 {
		if err != nil || len(want) > 0 {
			t.Errorf("error %v, want one that says %q", err, want)
		}
		return
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
}

func TestWhatIsNoDocument(t *testing.T) {
	for _, c := range []struct{ name, text, wrong string }{
		{"no command", "# A quick start\n\n```toml\na = 1\n```\n", "no command"},
		{"a block of nothing", "```\nkvm01# true\n```\n", ":1: this block does not say what it is"},
		{"an indented block", "- so:\n  ```console\n  kvm01# true\n  ```\n", ":2: this block is indented"},
		{"no end", "```console\nkvm01# true\n", "no end"},
		{"no end of another block", "```xml\n<a/>\n", "no end"},
		{"output first", block("done", "kvm01# true"), ":4: a block begins with a command"},
		{"another host", block("kvm03# true"), ":4: there is no host kvm03"},
		{"a here-document without an end", block("kvm01# cat <<'EOF'", "one"), "goes on"},
		{"a backslash before the end", block(`kvm01# echo \`), "goes on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("doc.md", c.text, "kvm01", "kvm02")
			says(t, err, []string{c.wrong, "doc.md:"})
		})
	}
}

func TestRunTellsOfEachStep(t *testing.T) {
	d, err := Parse("doc.md", block("kvm01# echo one", "one", "kvm01# exit 3", "kvm01# echo $?", "3", "kvm02# echo two", "two", "kvm01# echo three", "three"), "kvm01", "kvm02")
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	broken := errors.New("the guest does not count")
	err = d.Run(t.Context(), here(t), func(s Step) error {
		seen = append(seen, s.Host+" "+s.Command)
		if s.Host == "kvm02" {
			return broken
		}
		return nil
	})
	if want := []string{"kvm01 echo one", "kvm01 echo $?", "kvm02 echo two"}; !slices.Equal(seen, want) || !errors.Is(err, broken) {
		t.Errorf("seen %q and ended with %v, want %q and %v", seen, err, want, broken)
	}
}

// TestDocuments reads the quick starts; lab/machines/scenario runs them.
func TestDocuments(t *testing.T) {
	files, err := filepath.Glob("../../docs/quickstart/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no quick starts: %v", err)
	}
	for _, file := range files {
		if _, err := Read(file, "kvm01", "kvm02"); err != nil {
			t.Error(err)
		}
	}
}
