package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in the file.
type Problem struct {
	Line int    // from 1; 0 if it concerns the file as a whole
	Key  string // dotted, as written in messages: pool.fast.path
	Text string // what is wrong and what would be right; never a secret's value
}

func (p Problem) String() string {
	var where []string
	if p.Line > 0 {
		where = append(where, fmt.Sprintf("line %d", p.Line))
	}
	if p.Key != "" {
		where = append(where, p.Key)
	}
	if len(where) == 0 {
		return p.Text
	}
	return strings.Join(where, ", ") + ": " + p.Text
}

// InvalidError reports everything that is wrong with the file.
type InvalidError struct {
	Path     string
	Problems []Problem // by line, at least one
}

func (e *InvalidError) Error() string {
	if len(e.Problems) == 1 {
		return fmt.Sprintf("configuration %s: %s", e.Path, e.Problems[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration %s has %d mistakes:", e.Path, len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// problems collects them while the file is read. One key has one problem: the
// first, of which others may be a consequence.
type problems struct {
	list []Problem
	keys map[string]bool
}

func (ps *problems) add(line int, key, format string, args ...any) {
	if key != "" {
		if ps.keys[key] {
			return
		}
		if ps.keys == nil {
			ps.keys = map[string]bool{}
		}
		ps.keys[key] = true
	}
	ps.list = append(ps.list, Problem{Line: line, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (ps *problems) err(path string) error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	return &InvalidError{Path: path, Problems: ps.list}
}
