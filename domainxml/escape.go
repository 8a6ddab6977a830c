package domainxml

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// checkText refuses what XML cannot carry, not even as a reference.
func checkText(what, s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s %q is not UTF-8 and cannot be written into XML", what, s)
	}
	for _, r := range s {
		if !xmlChar(r) {
			return fmt.Errorf("%s %q has the character %U, which cannot be written into XML", what, s, r)
		}
	}
	return nil
}

// xmlChar is the production Char of XML 1.0.
func xmlChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' ||
		r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// quoted returns an attribute's value between quotes. White space other than a
// blank is written as a reference, since a reader turns it into blanks.
func quoted(s string, quote byte, ascii bool) string {
	var b strings.Builder
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '"' && quote == '"':
			b.WriteString("&quot;")
		case r == '\'' && quote == '\'':
			b.WriteString("&apos;")
		case r == '\t' || r == '\n' || r == '\r' || ascii && r >= utf8.RuneSelf:
			fmt.Fprintf(&b, "&#%d;", r)
		case !xmlChar(r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte(quote)
	return b.String()
}
