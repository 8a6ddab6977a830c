package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

// Help is read on a terminal of 80 columns.
func TestHelpFits(t *testing.T) {
	ta := newTestApp(t, "fast")
	var walk func(path []string, commands []*cli.Command)
	walk = func(path []string, commands []*cli.Command) {
		for _, line := range strings.Split(ta.must(t, append(path, "--help")...), "\n") {
			// The first lines are the name and what it is for, of any length.
			if !strings.HasPrefix(line, "   volbridge") && utf8.RuneCountInString(line) > helpWidth {
				t.Errorf("%v --help has a line of %d columns:\n%s", path, utf8.RuneCountInString(line), line)
			}
		}
		for _, c := range commands {
			walk(append(path[:len(path):len(path)], c.Name), c.Subcommands)
		}
	}
	walk(nil, ta.cli().Commands)
}

func TestOptionHelp(t *testing.T) {
	cli.FlagStringer = optionHelp
	for want, f := range map[string]cli.Flag{
		"--disk TARGET=POOL[/VOLUME]\n   copy TARGET=POOL[/VOLUME]": &cli.StringSliceFlag{Name: "disk", Usage: "copy `TARGET=POOL[/VOLUME]`"},
		"--yes, -y\n   do not ask":                                  &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
		"--level LEVEL\n   from LEVEL on (default: \"x\")":          &cli.StringFlag{Name: "level", Value: "x", Usage: "from `LEVEL` on"},
	} {
		if d := cmp.Diff(want, f.String()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

func TestReflow(t *testing.T) {
	long := strings.Repeat("word ", 20)
	got := reflow("a\nb\n\n" + long + "\n  kept  as it is\nc")
	want := "a b\n\n" + strings.TrimSpace(long[:75]) + "\n" + strings.TrimSpace(long[75:]) + "\n  kept  as it is\nc"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
