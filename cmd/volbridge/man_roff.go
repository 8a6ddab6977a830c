package main

import (
	"fmt"
	"strings"
)

// roff writes a manual page in the man(7) macros.
type roff struct{ strings.Builder }

// title begins the page. name is "volbridge-volume-create", section "1".
func (r *roff) title(name, section, date, source string) {
	fmt.Fprintf(r, ".TH %s %s %s %s %s\n", roffQuote(strings.ToUpper(name)), section, roffQuote(date), roffQuote(source), roffQuote("volbridge"))
	// No hyphenation and no justified lines: commands are to be copied.
	r.WriteString(".nh\n.ad l\n")
}

func (r *roff) section(name string) { fmt.Fprintf(r, ".SH %s\n", roffQuote(strings.ToUpper(name))) }

// item is a term and what it means. term may have \fB from bold and italic.
func (r *roff) item(term, text string) {
	fmt.Fprintf(r, ".TP\n%s\n%s\n", term, roffText(text))
}

// text writes paragraphs; lines that begin with blanks stay as they are.
func (r *roff) text(text string) {
	verbatim, fresh := false, true
	end := func() {
		if verbatim {
			r.WriteString(".EE\n.RE\n")
		}
		verbatim = false
	}
	blank := 0
	for _, line := range strings.Split(strings.Trim(text, "\n"), "\n") {
		indented := strings.HasPrefix(line, " ")
		switch {
		case strings.TrimSpace(line) == "":
			blank++
			fresh = true
			continue
		case indented && !verbatim:
			verbatim = true
			r.WriteString(".PP\n.RS 4\n.EX\n")
		case !indented:
			end()
			if fresh {
				r.WriteString(".PP\n")
			}
		case blank > 0:
			r.WriteString("\n")
		}
		blank, fresh = 0, false
		if indented {
			line = strings.TrimPrefix(line, "  ")
		}
		r.WriteString(roffText(line) + "\n")
	}
	end()
}

func bold(text string) string { return `\fB` + roffEscape(text) + `\fR` }

func italic(text string) string { return `\fI` + roffEscape(text) + `\fR` }

// roffText escapes running text, of which no line may begin like a command.
func roffText(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line = roffEscape(line); strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// roffEscape keeps every character what it is: a plain "-" would be set as a
// hyphen, which no shell takes for one.
func roffEscape(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
}

func roffQuote(text string) string {
	return `"` + strings.ReplaceAll(roffEscape(text), `"`, `\(dq`) + `"`
}
