package quickstart

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Read reads a document whose commands are for these hosts.
func Read(path string, hosts ...string) (Document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Document{}, err
	}
	return Parse(path, string(text), hosts...)
}

// Parse reads the text of a document; path is for errors.
func Parse(path, text string, hosts ...string) (Document, error) {
	r := &reader{lines: strings.Split(text, "\n"), hosts: hosts}
	steps, err := r.document()
	if err == nil && len(steps) == 0 {
		err = r.wrong("there is no command in it")
	}
	if err != nil {
		return Document{}, fmt.Errorf("%s:%w", path, err)
	}
	return Document{Path: path, Steps: steps}, nil
}

// reader goes through the lines; at is the one to be read next.
type reader struct {
	lines []string
	at    int
	hosts []string
}

// wrong is about the line that was read last.
func (r *reader) wrong(format string, args ...any) error {
	return fmt.Errorf("%d: %s", max(r.at, 1), fmt.Sprintf(format, args...))
}

// next returns the next line, false behind the last.
func (r *reader) next() (string, bool) {
	if r.at == len(r.lines) {
		return "", false
	}
	r.at++
	return strings.TrimRight(r.lines[r.at-1], " \t\r"), true
}

const fence = "```"

func (r *reader) document() (steps []Step, err error) {
	for {
		line, more := r.next()
		if !more {
			return steps, nil
		}
		if !strings.HasPrefix(strings.TrimSpace(line), fence) {
			continue
		}
		block, err := r.block(line)
		if err != nil {
			return nil, err
		}
		steps = append(steps, block...)
	}
}

// block reads a block whose first line was read.
func (r *reader) block(first string) ([]Step, error) {
	language, atStart := strings.CutPrefix(first, fence)
	switch {
	case !atStart:
		return nil, r.wrong("this block is indented, so that nobody would run it")
	case language == "":
		return nil, r.wrong("this block does not say what it is: write %sconsole, or another language for what is not to be run", fence)
	case language == "console":
		return r.console()
	}
	for {
		line, more := r.next()
		switch {
		case !more:
			return nil, r.wrong("this block has no end")
		case line == fence:
			return nil, nil
		}
	}
}

var prompt = regexp.MustCompile(`^([a-z][a-z0-9-]*)# (.+)$`)

// console reads a block of commands to its end.
func (r *reader) console() (steps []Step, err error) {
	for {
		line, more := r.next()
		if !more {
			return nil, r.wrong("this block has no end")
		}
		if line == fence {
			return trimmed(steps), nil
		}
		match := prompt.FindStringSubmatch(line)
		switch {
		case match == nil && len(steps) == 0:
			return nil, r.wrong("a block begins with a command, such as %s# virsh list", r.hosts[0])
		case match == nil:
			last := &steps[len(steps)-1]
			last.Output = append(last.Output, line)
			continue
		case !slices.Contains(r.hosts, match[1]):
			return nil, r.wrong("there is no host %s: there are %s", match[1], strings.Join(r.hosts, ", "))
		}
		s := Step{Line: r.at, Host: match[1]}
		if s.Command, err = r.command(match[2]); err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
}

// hereDocument is where one begins; its end is one of the groups.
var hereDocument = regexp.MustCompile(`(?:^|[^<])<<-?\s*(?:'(\w+)'|"(\w+)"|(\w+))`)

// command reads the rest of a command line that goes on on further lines.
func (r *reader) command(first string) (string, error) {
	all, end := first, endOf(first)
	for line := first; end != "" || strings.HasSuffix(line, `\`); {
		var more bool
		// A line of a here-document keeps its blanks.
		if line, more = r.next(); !more || line == fence {
			return "", r.wrong("the command above goes on behind this line")
		}
		line = strings.TrimSuffix(r.lines[r.at-1], "\r")
		all += "\n" + line
		if line == end {
			return all, nil
		}
		if end == "" {
			end = endOf(line)
		}
	}
	return all, nil
}

// endOf is the line that ends the here-document which begins in a line, "" if
// none does.
func endOf(line string) string {
	match := hereDocument.FindStringSubmatch(line)
	if match == nil {
		return ""
	}
	return match[1] + match[2] + match[3]
}

// trimmed leaves blank lines at the end of what is shown out.
func trimmed(steps []Step) []Step {
	for i := range steps {
		steps[i].Output = withoutEnd(steps[i].Output)
	}
	return steps
}

func withoutEnd(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}
