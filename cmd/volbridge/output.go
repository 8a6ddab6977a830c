package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/volbridge/volbridge/internal/units"
)

const (
	outputText = "text"
	outputJSON = "json"
)

// output drops what nobody reads any more, as head does after its lines: the
// command goes on, and its code says how it ended.
type output struct {
	io.Writer
	terminal bool
}

func (o output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) || o.terminal && errors.Is(err, syscall.EIO) {
		return len(b), nil
	}
	return n, err
}

// json says whether a program reads what is printed.
func (a *app) json() bool { return a.global.Output == outputJSON }

// printJSON prints one value; empty lists are [], never null.
func (a *app) printJSON(value any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// printTable prints aligned columns. A terminal gets a bold head.
func (a *app) printTable(head []string, rows [][]string) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	writeRow(w, head)
	for _, row := range rows {
		writeRow(w, row)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	lines := strings.SplitAfter(b.String(), "\n")
	if a.colour(a.outTerminal) && len(lines) > 0 {
		// Only now, because the column widths must not count the codes.
		lines[0] = "\x1b[1m" + strings.TrimRight(lines[0], " \n") + "\x1b[0m\n"
	}
	for _, line := range lines {
		if line == "" {
			continue
		}
		if _, err := fmt.Fprintln(a.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func writeRow(w *tabwriter.Writer, cells []string) {
	shown := make([]string, len(cells))
	for i, c := range cells {
		shown[i] = dash(printable(c))
	}
	fmt.Fprintln(w, strings.Join(shown, "\t"))
}

// printFields prints one thing as "name: value" lines; empty values are left
// out.
func (a *app) printFields(fields [][2]string) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		if f[1] != "" {
			fmt.Fprintf(w, "%s:\t%s\n", f[0], printable(f[1]))
		}
	}
	return w.Flush()
}

// say tells a person what was done; a program that asked for JSON or quiet
// does not want to know.
func (a *app) say(format string, args ...any) {
	if !a.global.Quiet && !a.json() {
		fmt.Fprintf(a.out, format+"\n", args...)
	}
}

// warn tells on stderr what is not right but stops nothing.
func (a *app) warn(format string, args ...any) {
	if !a.global.Quiet {
		fmt.Fprintf(a.err, "volbridge: warning: "+format+"\n", args...)
	}
}

// printable keeps names from moving the cursor or breaking a table.
func printable(s string) string {
	clean := func(r rune) bool { return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) }
	if strings.IndexFunc(s, clean) < 0 {
		return s
	}
	return fmt.Sprintf("%q", s)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// sizeText is a size for people: exact where that is short.
func sizeText(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	if exact := units.FormatSize(bytes); len(exact) <= 8 {
		return exact
	}
	return units.RoughSize(bytes)
}

// unlessEOF drops the end of the input, which is no failure of reading.
func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
