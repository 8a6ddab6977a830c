package main

import (
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
)

// helpWidth is that of the narrowest terminal that people still use;
// textIndent is how far the library moves a description to the right, and
// optionIndent how far it moves the second line of an option.
const (
	helpWidth    = 80
	textIndent   = 3
	optionIndent = 6
)

// libraryHelp is what the library says of an option: its name, a tab, and what it
// does.
var libraryHelp = cli.FlagStringer

// unset are the defaults that go without saying.
var unset = regexp.MustCompile(` \(default: (false|0)\)`)

// optionHelp is the name of an option in one line and what it does in those
// below: beside a long name there is no room for words.
func optionHelp(f cli.Flag) string {
	name, what, _ := strings.Cut(unset.ReplaceAllString(libraryHelp(f), ""), "\t")
	name, _, _ = strings.Cut(name, " [ --") // the library writes repeatable ones twice
	const more = "   "
	lines := wrapWords(what, helpWidth-optionIndent-len(more))
	return strings.TrimSpace(name) + "\n" + more + strings.Join(lines, "\n"+more)
}

// reflow breaks the paragraphs of a description anew, so that they fit beside the
// library's indent. Indented lines stay as they are.
func reflow(text string) string {
	var out, paragraph []string
	end := func() {
		if len(paragraph) > 0 {
			out = append(out, wrapWords(strings.Join(paragraph, " "), helpWidth-textIndent)...)
			paragraph = nil
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, " ") {
			end()
			out = append(out, line)
			continue
		}
		paragraph = append(paragraph, line)
	}
	end()
	return strings.Join(out, "\n")
}

// wrapWords breaks a text between words.
func wrapWords(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
