package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// completionLimit bounds what a person at a prompt waits for an array or a
// daemon. What has not been said by then is not offered.
const completionLimit = 2 * time.Second

// filesWanted tells the shell to offer the names of files as well.
const filesWanted = ":files"

// completionCommand answers the shells, whose scripts are in
// packaging/completion: the words after "volbridge" up to the one that is being
// written, which may be empty. Each line of the answer is a candidate, a tab,
// and what it is. It never fails and never says anything else.
func completionCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "complete", Hidden: true, Usage: "answer a shell that completes a command line", ArgsUsage: "-- WORD...",
		Description: `For the completions of bash, zsh and fish. A candidate per line, a tab, and
what it is.

Example:
  volbridge complete volume resize`,
		Action: func(c *cli.Context) error {
			ctx, cancel := context.WithTimeout(c.Context, completionLimit)
			defer cancel()
			a.err, a.global.Quiet = io.Discard, true
			for _, line := range a.complete(ctx, c.Args().Slice()) {
				fmt.Fprintln(a.out, line)
			}
			return nil
		},
	}
}

// complete returns the candidates for the last word.
func (a *app) complete(ctx context.Context, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	l := readCommandLine(a.cli(), words[:len(words)-1])
	var candidates []string
	flag, _, joined := strings.Cut(last, "=")
	switch {
	case l.pending != nil:
		// bash makes "=" a word of its own.
		candidates, last = a.flagValues(ctx, l.pending), strings.TrimPrefix(last, "=")
	case joined && strings.HasPrefix(last, "-"):
		if f, ok := l.flag(flag); ok {
			for _, v := range a.flagValues(ctx, f) {
				candidates = append(candidates, flag+"="+v)
			}
		}
	case strings.HasPrefix(last, "-") && !l.onlyArguments:
		candidates = l.flagNames()
	case len(l.commands) > 0:
		candidates = commandNames(l.commands)
	default:
		candidates = a.argumentValues(ctx, l.argument(), last)
	}
	return slices.DeleteFunc(candidates, func(c string) bool {
		return c != filesWanted && !strings.HasPrefix(c, last)
	})
}

// commandLine is what has been written so far.
type commandLine struct {
	global, flags []cli.Flag
	commands      []*cli.Command // that may come next
	command       *cli.Command
	arguments     int
	onlyArguments bool     // after "--"
	pending       cli.Flag // whose value comes next
}

// readCommandLine follows the words as reorder does.
func readCommandLine(root *cli.App, words []string) *commandLine {
	l := &commandLine{global: root.Flags, commands: root.Commands}
	for _, word := range words {
		switch {
		case l.pending != nil:
			if word == "=" {
				continue
			}
			setGlobal(l.global, l.pending, word)
			l.pending = nil
		case l.onlyArguments:
			l.arguments++
		case word == "--":
			l.onlyArguments, l.commands = true, nil
		case len(word) > 1 && word[0] == '-':
			l.takeFlag(word)
		default:
			l.takeWord(word)
		}
	}
	return l
}

func (l *commandLine) takeFlag(word string) {
	f, ok := l.flag(word)
	if !ok || !takesValue(f) {
		return
	}
	if _, value, joined := strings.Cut(word, "="); joined {
		setGlobal(l.global, f, value)
		return
	}
	l.pending = f
}

func (l *commandLine) takeWord(word string) {
	c := findCommand(l.commands, word)
	if c == nil {
		if len(l.commands) > 0 { // there is no such command
			l.command, l.commands = nil, nil
		}
		l.arguments++
		return
	}
	l.command, l.flags, l.commands = c, c.Flags, c.Subcommands
}

func (l *commandLine) flag(word string) (cli.Flag, bool) {
	if f, ok := findFlag(l.flags, word); ok {
		return f, true
	}
	return findFlag(l.global, word)
}

// setGlobal keeps --config and --connect of the line: they say whose pools and
// domains are offered.
func setGlobal(global []cli.Flag, f cli.Flag, value string) {
	if s, ok := f.(*cli.StringFlag); ok && s.Destination != nil && slices.Contains(global, f) {
		*s.Destination = value
	}
}

func (l *commandLine) flagNames() (names []string) {
	for _, f := range slices.Concat(l.flags, l.global) {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok || hiddenFlag(f) {
			continue
		}
		_, what := flagText(d)
		for _, name := range f.Names() {
			if len(name) > 1 {
				names = append(names, "--"+name+"\t"+what)
			}
		}
	}
	return append(names, "--help\tshow help")
}

func commandNames(commands []*cli.Command) (names []string) {
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Name+"\t"+c.Usage)
		}
	}
	return names
}

// argument is what the command's usage calls the argument that comes next.
func (l *commandLine) argument() string {
	if l.command == nil {
		return ""
	}
	usage := strings.Fields(l.command.ArgsUsage)
	if l.arguments >= len(usage) {
		return ""
	}
	return strings.Trim(usage[l.arguments], "[]")
}
