package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/doctor"
)

const doctorHelp = `Looks at this host: its configuration, hook, libvirt, kernel, pools, clock and
records, and says of what is not right how it is put right. Nothing is changed.
It ends within five seconds, whatever does not answer.

For monitoring it ends with 0 if nothing was found, with 7 if there are only
warnings, and with 8 if something keeps guests from starting, moving or being
recovered. 1, 2 and 130 mean that it could not look.

With --peer the hook of another host is asked, through libvirt there: whether it
serves the same pools, and whether the two take each other for themselves.

Example:

  volbridge doctor --peer qemu+ssh://kvm02/system
  volbridge doctor --only pools,clock --output json`

type doctorOptions struct {
	only, skip []string
	peer       string
}

func doctorCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Usage:       "check this host, and say how what is wrong is put right",
		Description: doctorHelp,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "only", Usage: "run only the checks `ID,...`"},
			&cli.StringSliceFlag{Name: "skip", Usage: "leave the checks `ID,...` out"},
			&cli.StringFlag{Name: "peer", Usage: "ask the host of libvirt's `URI` too"},
			&cli.BoolFlag{Name: "list", Usage: "list the checks, and run none"},
		},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			if c.Bool("list") {
				return a.doctorList()
			}
			return a.doctor(c.Context, doctorOptions{only: ids(c.StringSlice("only")), skip: ids(c.StringSlice("skip")), peer: c.String("peer")})
		},
	}
}

// ids takes lists apart; the flags may be repeated, too.
func ids(lists []string) (out []string) {
	for _, list := range lists {
		for id := range strings.SplitSeq(list, ",") {
			if id = strings.TrimSpace(id); id != "" {
				out = append(out, id)
			}
		}
	}
	return out
}

type doctorCheckJSON struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

func (a *app) doctorList() error {
	list := []doctorCheckJSON{}
	var rows [][]string
	for _, c := range doctor.All() {
		list = append(list, doctorCheckJSON{c.ID, c.Title})
		rows = append(rows, []string{c.ID, c.Title})
	}
	if a.json() {
		return a.printJSON(list)
	}
	return a.printTable([]string{"ID", "RIGHT IF"}, rows)
}

// choose returns the checks that were asked for.
func choose(o doctorOptions) ([]doctor.Check, error) {
	all := doctor.All()
	for _, id := range slices.Concat(o.only, o.skip) {
		if !slices.ContainsFunc(all, func(c doctor.Check) bool { return c.ID == id }) {
			return nil, withHint(usagef("there is no check %q", id), "'volbridge doctor --list' lists them")
		}
	}
	chosen := slices.DeleteFunc(all, func(c doctor.Check) bool {
		return slices.Contains(o.skip, c.ID) || len(o.only) > 0 && !slices.Contains(o.only, c.ID)
	})
	if len(chosen) == 0 {
		return nil, usagef("no check is left: --skip has all that --only names")
	}
	return chosen, nil
}

func (a *app) doctor(ctx context.Context, o doctorOptions) error {
	checks, err := choose(o)
	if err != nil {
		return err
	}
	results := doctor.Run(ctx, a.doctorEnv(ctx, o), checks)
	if ctx.Err() != nil {
		return errors.New("interrupted: not everything was looked at")
	}
	if err := a.printDiagnosis(results); err != nil {
		return err
	}
	return verdictOf(results)
}

// verdictOf is the exit code of a diagnosis.
func verdictOf(results []doctor.Result) error {
	var failed, warned []string
	for _, r := range results {
		switch r.Level {
		case doctor.Fail:
			failed = append(failed, r.ID)
		case doctor.Warn:
			warned = append(warned, r.ID)
		}
	}
	switch {
	case len(failed) > 0:
		return withCode(exitUnhealthy, fmt.Errorf("this host is not fit: %s", strings.Join(failed, ", ")))
	case len(warned) > 0:
		return withCode(exitWarned, fmt.Errorf("there are warnings: %s", strings.Join(warned, ", ")))
	}
	return nil
}

type diagnosisJSON struct {
	Level  doctor.Level    `json:"level"`
	Checks []doctor.Result `json:"checks"`
}

func (a *app) printDiagnosis(results []doctor.Result) error {
	if a.json() {
		worst := doctor.OK
		for _, r := range results {
			if r.Level > doctor.Skipped {
				worst = max(worst, r.Level)
			}
		}
		return a.printJSON(diagnosisJSON{worst, results})
	}
	var b strings.Builder
	for _, r := range results {
		if a.global.Quiet && r.Level < doctor.Warn {
			continue
		}
		fmt.Fprintf(&b, "%s  %-14s  %s\n", a.levelText(r.Level), r.ID, r.Title)
		for _, f := range r.Findings {
			b.WriteString(findingText(f))
		}
	}
	_, err := a.out.Write([]byte(b.String()))
	return err
}

var levelColours = map[doctor.Level]string{doctor.OK: "32", doctor.Skipped: "2", doctor.Warn: "33", doctor.Fail: "1;31"}

func (a *app) levelText(l doctor.Level) string {
	text := fmt.Sprintf("%-4s", l)
	if !a.colour(a.outTerminal) {
		return text
	}
	return "\x1b[" + levelColours[l] + "m" + text + "\x1b[0m"
}

func findingText(f doctor.Finding) string {
	const indent = "      "
	if f.Level == doctor.Skipped {
		return indent + "skipped: " + plainLine(f.Seen) + "\n"
	}
	text := indent + "seen:   " + plainLine(f.Seen) + "\n"
	if f.Remedy != "" {
		text += indent + "remedy: " + plainLine(f.Remedy) + "\n"
	}
	for _, c := range f.Commands {
		text += indent + "  # " + c + "\n"
	}
	return text
}

// plainLine keeps what others said from moving the cursor.
func plainLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
