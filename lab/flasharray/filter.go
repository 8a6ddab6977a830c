package flasharray

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// filter is the part of the array's filter language that is modelled:
// comparisons (=, !=) of fields with quoted values or lists of them, in which *
// stands for anything, joined by `and`. Values compare without case. A field
// with several values matches if one of them does.
type filter struct{ terms []term }

type term struct {
	field  string // a.b is field b of object a
	not    bool
	values []string
}

var (
	termPattern  = regexp.MustCompile(`^\s*([a-z_.]+)\s*(!?=)\s*(\(?)`)
	valuePattern = regexp.MustCompile(`^\s*(?:'((?:[^'\\]|\\.)*)'|([A-Za-z0-9_.-]+))\s*`)
)

// parseFilter returns nil for an empty text.
func parseFilter(text string) (*filter, *failure) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	f := &filter{}
	for rest := text; ; {
		var t term
		var ok bool
		if t, rest, ok = parseTerm(rest); !ok {
			return nil, refuse(text, "Invalid filter.")
		}
		f.terms = append(f.terms, t)
		if rest = strings.TrimSpace(rest); rest == "" {
			return f, nil
		}
		if rest, ok = strings.CutPrefix(rest, "and "); !ok {
			return nil, refuse(text, "Invalid filter.")
		}
	}
}

func parseTerm(text string) (t term, rest string, ok bool) {
	m := termPattern.FindStringSubmatch(text)
	if m == nil {
		return t, "", false
	}
	t.field, t.not, rest = m[1], m[2] == "!=", text[len(m[0]):]
	for {
		v := valuePattern.FindStringSubmatch(rest)
		if v == nil {
			return t, "", false
		}
		value := v[2]
		if v[2] == "" {
			value = unescape(v[1])
		}
		t.values, rest = append(t.values, value), rest[len(v[0]):]
		if m[3] == "" {
			return t, rest, true
		}
		if after, more := strings.CutPrefix(rest, ","); more {
			rest = after
			continue
		}
		rest, ok = strings.CutPrefix(rest, ")")
		return t, rest, ok
	}
}

func unescape(s string) string {
	return strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(s)
}

// only returns the value that a field must have, if it is a single one.
func (f *filter) only(field string) (string, bool) {
	if f == nil {
		return "", false
	}
	for _, t := range f.terms {
		if t.field == field && !t.not && len(t.values) == 1 && !strings.Contains(t.values[0], "*") {
			return t.values[0], true
		}
	}
	return "", false
}

func (f *filter) matches(o object) bool {
	return f.matchesFields(func(field string) []string { return fieldValues(o, field) })
}

// matchesFields asks only for the fields that it needs. A nil filter matches
// everything.
func (f *filter) matchesFields(values func(field string) []string) bool {
	if f == nil {
		return true
	}
	for _, t := range f.terms {
		if t.matches(values(t.field)) == t.not {
			return false
		}
	}
	return true
}

func (t term) matches(values []string) bool {
	for _, have := range values {
		for _, want := range t.values {
			if like(have, want) {
				return true
			}
		}
	}
	return false
}

func fieldValues(o object, field string) []string {
	first, rest, deeper := strings.Cut(field, ".")
	switch v := o[first].(type) {
	case nil:
		return nil
	case object:
		if deeper {
			return fieldValues(v, rest)
		}
		return nil
	case []string:
		return v
	default:
		return []string{fmt.Sprint(v)}
	}
}

// like compares without case; * in the pattern stands for anything.
func like(have, pattern string) bool {
	have, pattern = strings.ToLower(have), strings.ToLower(pattern)
	if !strings.Contains(pattern, "*") {
		return have == pattern
	}
	escaped := strings.NewReplacer(`\`, `\\`, `?`, `\?`, `[`, `\[`, "/", "\x00").Replace(pattern)
	ok, err := path.Match(escaped, strings.ReplaceAll(have, "/", "\x00"))
	return err == nil && ok
}
