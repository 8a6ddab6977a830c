package main

import (
	"fmt"

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
		c.Description = reflow(c.Description)
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
