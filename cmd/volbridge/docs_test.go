package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// documents are all Markdown files of the project, by path from its root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	root := os.DirFS("../..")
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		files, err := fs.Glob(root, pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := fs.ReadFile(root, f)
			if err != nil {
				t.Fatal(err)
			}
			texts[f] = string(text)
		}
	}
	return texts
}

var (
	inBackticks = regexp.MustCompile("`(volbridge [^`]+)`")
	afterPrompt = regexp.MustCompile(`(?m)^ *(?:[a-z0-9]*# |\$ )(volbridge .*)$`)
)

// TestDocumentedCommands: what the documents tell people to type exists, with its
// options.
func TestDocumentedCommands(t *testing.T) {
	a, _ := testManual()
	found := 0
	for file, text := range documents(t) {
		for _, pattern := range []*regexp.Regexp{inBackticks, afterPrompt} {
			for _, m := range pattern.FindAllStringSubmatch(text, -1) {
				found++
				if problem := a.unknownIn(strings.Fields(m[1])[1:]); problem != "" {
					t.Errorf("%s: %q: %s", file, m[1], problem)
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d commands were found: does the test still look at the right places?", found)
	}
}

// unknownIn says which word of a command line is no command and no option.
func (a *app) unknownIn(words []string) string {
	commands, flags := a.commands(), a.globalFlags()
	for _, w := range words {
		switch {
		case strings.HasPrefix(w, "#"), strings.ContainsAny(w, "|>&"):
			return "" // a comment, or the shell's
		case strings.HasPrefix(w, "-") && len(w) > 1:
			name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
			if name = strings.TrimRight(name, ",.;:…"); name != "help" && !hasFlag(flags, name) {
				return "there is no option " + w
			}
		case len(commands) > 0 && regexp.MustCompile(`^[a-z]+$`).MatchString(w):
			c := commandNamed(commands, w)
			if c == nil {
				return "there is no command " + w
			}
			commands, flags = c.Subcommands, append(flags[:len(flags):len(flags)], c.Flags...)
		}
	}
	return ""
}

func hasFlag(flags []cli.Flag, name string) bool {
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				return true
			}
		}
	}
	return false
}

func commandNamed(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

var (
	messageBlock = regexp.MustCompile("(?s)```text\n(.*?)```")
	goString     = regexp.MustCompile(`"(?:[^"\\\n]|\\.)*"`)
	joined       = regexp.MustCompile(`"\s*\+\s*"`)
)

// TestDocumentedMessages: what operations.md shows of messages is what the
// programs say. A … stands for what is filled in.
func TestDocumentedMessages(t *testing.T) {
	said := messages(t)
	blocks := messageBlock.FindAllStringSubmatch(documents(t)["docs/operations.md"], -1)
	if len(blocks) < 20 {
		t.Fatalf("only %d messages were found", len(blocks))
	}
	for _, b := range blocks {
		for line := range strings.Lines(b[1]) {
			for _, part := range strings.Split(strings.TrimSpace(line), "…") {
				if part = strings.TrimSpace(part); !strings.Contains(said, part) {
					t.Errorf("no program says %q, of %q", part, strings.TrimSpace(line))
				}
			}
		}
	}
}

// messages are all string literals of the product, a line each, with their verbs
// left out.
func messages(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"blockdev", "bridge", "cmd", "domainxml", "hooks", "image", "internal", "migrate", "pool"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, literal := range goString.FindAllString(joined.ReplaceAllString(string(text), ""), -1) {
				if s, err := strconv.Unquote(literal); err == nil {
					all.WriteString(s + "\n")
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}
