package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// reorder lets flags stand anywhere, as people write them: the library wants
// those of a command before its arguments, and global ones before the command.
func reorder(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 || args[len(args)-1] == "--generate-bash-completion" {
		return args, nil
	}
	s := sorter{app: app, commands: app.Commands}
	for words := args[1:]; len(words) > 0; {
		if words[0] == "--" {
			s.rest = append(s.rest, words[1:]...)
			break
		}
		n := s.take(words)
		if n > len(words) {
			return nil, usagef("%s needs a value", words[0])
		}
		words = words[n:]
	}
	out := slices.Concat(args[:1], s.global, s.path, s.local)
	if len(s.rest) > 0 && len(s.commands) == 0 {
		out = append(out, "--") // an argument may begin with a dash
	}
	return append(out, s.rest...), nil
}

// sorter sorts the words of a command line.
type sorter struct {
	app *cli.App

	commands []*cli.Command // that may come next
	flags    []cli.Flag     // of the command so far

	path   []string // the command
	global []string // flags of the program
	local  []string // flags of the command, and unknown ones
	rest   []string // arguments
}

// take sorts the first word, and the value of a flag with it, and returns how
// many words that are, which may be one more than there are.
func (s *sorter) take(words []string) int {
	word := words[0]
	if len(word) > 1 && word[0] == '-' {
		return s.takeFlag(words)
	}
	c := findCommand(s.commands, word)
	if c == nil || len(s.rest) > 0 {
		s.rest = append(s.rest, word)
		return 1
	}
	s.path = append(s.path, word)
	s.commands, s.flags = c.Subcommands, c.Flags
	return 1
}

func (s *sorter) takeFlag(words []string) int {
	into := &s.local
	flag, known := findFlag(s.flags, words[0])
	if !known {
		if flag, known = findFlag(s.app.Flags, words[0]); known {
			into = &s.global
		}
	}
	n := 1
	if known && takesValue(flag) && !strings.Contains(words[0], "=") {
		n = 2
	}
	*into = append(*into, words[:min(n, len(words))]...)
	return n
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		return nil
	}
	return commands[i]
}

func findFlag(flags []cli.Flag, word string) (cli.Flag, bool) {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil, false
	}
	return flags[i], true
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
