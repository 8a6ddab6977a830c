package quickstart

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// Shell runs a script of bash as root on a host, in root's home and without
// anybody at its input, and returns all that it printed and how it ended. An
// error means that it could not be run.
type Shell func(ctx context.Context, host, script string) (printed string, exit int, err error)

// Run does what the document says. After each command that did not fail it calls
// after.
func (d Document) Run(ctx context.Context, shell Shell, after func(Step) error) error {
	exits := map[string]int{}
	for i, s := range d.Steps {
		printed, exit, err := shell(ctx, s.Host, fmt.Sprintf("(exit %d)\n%s", exits[s.Host], s.Command))
		exits[s.Host] = exit
		switch {
		case err != nil:
		case exit != 0 && !d.exitIsShown(i):
			err = fmt.Errorf("it ended with %d and printed:\n%s", exit, indented(split(printed)))
		default:
			if err = s.compare(printed); err == nil && exit == 0 {
				err = after(s)
			}
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %s# %s: %w", d.Path, s.Line, s.Host, s.Command, err)
		}
	}
	return nil
}

// exitIsShown says whether the step after this one shows how it ended.
func (d Document) exitIsShown(i int) bool {
	return i+1 < len(d.Steps) && d.Steps[i+1].Command == showsExit && d.Steps[i+1].Host == d.Steps[i].Host
}

func (s Step) compare(printed string) error {
	came := split(printed)
	if same(s.Output, came) {
		return nil
	}
	return fmt.Errorf("the document shows:\n%sand it printed:\n%s", indented(s.Output), indented(came))
}

func split(text string) []string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r")
	}
	return withoutEnd(lines)
}

func indented(lines []string) string {
	if len(lines) == 0 {
		return "    (nothing)\n"
	}
	return "    " + strings.Join(lines, "\n    ") + "\n"
}

// anything stands for what differs from one time to the next.
const anything = "…"

// same says whether what came is what is shown.
func same(shown, came []string) bool {
	switch {
	case len(shown) == 0:
		return len(came) == 0
	case strings.TrimSpace(shown[0]) == anything:
		for skip := range len(came) + 1 {
			if same(shown[1:], came[skip:]) {
				return true
			}
		}
		return false
	}
	return len(came) > 0 && sameLine(shown[0], came[0]) && same(shown[1:], came[1:])
}

func sameLine(shown, came string) bool {
	parts := strings.Split(shown, anything)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".+") + "$").MatchString(came)
}
