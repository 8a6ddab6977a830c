package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// usagef is an error of the command line.
func usagef(format string, args ...any) error {
	return withCode(exitUsage, fmt.Errorf(format, args...))
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	return helpHint(c, usagef("%s", err))
}

func helpHint(c *cli.Context, err error) error {
	name := "volbridge"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return withHint(err, "'%s --help' explains it", name)
}

// group is what a command does that only has commands below it.
func group(c *cli.Context) error {
	if !c.Args().Present() {
		return cli.ShowSubcommandHelp(c)
	}
	return helpHint(c, usagef("there is no command %q", c.Args().First()))
}

// prepare gives every command what is the same for all.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		// Otherwise a domain named "help" could not be an argument.
		c.HideHelpCommand = true
		if len(c.Subcommands) > 0 {
			c.Action = group
			prepare(c.Subcommands)
		}
	}
}

// arguments returns exactly the arguments that a command wants.
func arguments(c *cli.Context, names ...string) ([]string, error) {
	args := c.Args().Slice()
	switch {
	case len(args) < len(names):
		return nil, helpHint(c, usagef("%s is missing", names[len(args)]))
	case len(args) > len(names):
		return nil, helpHint(c, usagef("%q is one argument too many", args[len(names)]))
	}
	return args, nil
}

// optional returns one argument or "".
func optional(c *cli.Context) (string, error) {
	if c.Args().Len() == 0 {
		return "", nil
	}
	args, err := arguments(c, "")
	if err != nil {
		return "", err
	}
	return args[0], nil
}

// reorder lets flags stand anywhere, as people write them: the library wants
// those of a command before its arguments, and global ones before the command.
func reorder(app *cli.App, args []string) []string {
	if len(args) < 2 || args[len(args)-1] == "--generate-bash-completion" {
		return args
	}
	var global, local, path, rest []string
	commands, flags := app.Commands, []cli.Flag(nil)
	words := args[1:]
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if word == "--" {
			rest = append(rest, words...)
			break
		}
		if len(word) > 1 && word[0] == '-' {
			into := &local
			flag, ok := findFlag(flags, word)
			if !ok {
				if flag, ok = findFlag(app.Flags, word); ok {
					into = &global
				}
			}
			*into = append(*into, word)
			if ok && takesValue(flag) && !strings.Contains(word, "=") && len(words) > 0 {
				*into = append(*into, words[0])
				words = words[1:]
			}
			continue
		}
		if c := findCommand(commands, word); c != nil && len(rest) == 0 {
			path = append(path, word)
			commands, flags = c.Subcommands, c.Flags
			continue
		}
		rest = append(rest, word)
	}
	out := slices.Concat(args[:1], global, path, local)
	if len(rest) > 0 && len(commands) == 0 {
		out = append(out, "--")
	}
	return append(out, rest...)
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
