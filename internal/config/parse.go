package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/volbridge/volbridge/internal/lazyregexp"
)

// entry is one `key = value` with the table that it stands in. Inline tables
// are taken apart, so that a value is never one.
type entry struct {
	path []string
	line int
	kind unstable.Kind
	raw  []byte // the value as written
	text string // a string's content
}

// table is one [header].
type table struct {
	path []string
	line int
}

// document is a file taken apart into statements.
type document struct {
	entries []entry
	tables  []table
}

// reader takes a file apart. Each statement is kept apart from the others, so
// that a mistake in one does not hide those in the next.
type reader struct {
	data   []byte
	parser unstable.Parser
	base   int      // where in data the parser began
	prefix []string // of the current table
	lost   bool     // the current table's header could not be read
	doc    document
	ps     *problems
}

func parse(data []byte, ps *problems) document {
	r := reader{data: data, ps: ps}
	r.parser.Reset(data)
	for {
		for r.parser.NextExpression() {
			r.statement(r.parser.Expression())
		}
		if r.parser.Error() == nil || !r.resume() {
			return r.doc
		}
	}
}

func (r *reader) line(offset uint32) int {
	return 1 + bytes.Count(r.data[:r.base+int(offset)], []byte{'\n'})
}

func (r *reader) statement(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table:
		path, at := keyOf(n)
		r.prefix, r.lost = path, false
		r.doc.tables = append(r.doc.tables, table{path, r.line(at)})
	case unstable.ArrayTable:
		path, at := keyOf(n)
		r.ps.add(r.line(at), dotted(path), "[[%s]] is a list of tables, and there is none here: write [%[1]s]", dotted(path))
		r.prefix, r.lost = path, false
	case unstable.KeyValue:
		if !r.lost {
			r.keyValue(r.prefix, n)
		}
	}
}

func (r *reader) keyValue(prefix []string, n *unstable.Node) {
	key, at := keyOf(n)
	path := append(append([]string{}, prefix...), key...)
	value := n.Value()
	if value.Kind == unstable.InlineTable {
		r.doc.tables = append(r.doc.tables, table{path, r.line(at)})
		for it := value.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				r.keyValue(path, it.Node())
			}
		}
		return
	}
	r.doc.entries = append(r.doc.entries, entry{
		path: path, line: r.line(at), kind: value.Kind,
		raw: r.valueOf(n), text: string(value.Data),
	})
}

// valueOf cuts the value out of `key = value`.
func (r *reader) valueOf(n *unstable.Node) []byte {
	var last unstable.Range
	for it := n.Key(); it.Next(); {
		last = it.Node().Raw
	}
	whole := r.parser.Raw(n.Raw)
	rest := whole[last.Offset+last.Length-n.Raw.Offset:]
	return bytes.TrimLeft(rest, " \t=")
}

func keyOf(n *unstable.Node) (path []string, at uint32) {
	for it := n.Key(); it.Next(); {
		if path == nil {
			at = it.Node().Raw.Offset
		}
		path = append(path, string(it.Node().Data))
	}
	return path, at
}

// statementStart is a line that looks like the beginning of a statement.
var statementStart = lazyregexp.New(`(?m)^[ \t]*(\[|[A-Za-z0-9_."'-]+[ \t]*=)`)

// resume reports a mistake in the grammar and goes on at the next line that
// looks like a statement. It returns false at the end of the file.
func (r *reader) resume() bool {
	var broken *unstable.ParserError
	if !errors.As(r.parser.Error(), &broken) {
		r.ps.add(0, "", "%v", r.parser.Error())
		return false
	}
	at := r.parser.Range(broken.Highlight).Offset
	r.ps.add(r.line(at), "", "%s", broken.Message)
	from := r.base + int(at)
	start := bytes.LastIndexByte(r.data[:from], '\n') + 1
	if bytes.HasPrefix(bytes.TrimLeft(r.data[start:], " \t"), []byte{'['}) {
		r.lost = true
	}
	eol := bytes.IndexByte(r.data[from:], '\n')
	if eol < 0 {
		return false
	}
	from += eol + 1
	next := statementStart.FindIndex(r.data[from:])
	if next == nil {
		return false
	}
	r.base = from + next[0]
	r.parser.Reset(r.data[r.base:])
	return true
}

var bareKey = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

// dotted writes a path as TOML does.
func dotted(path []string) string {
	parts := make([]string, len(path))
	for i, p := range path {
		if parts[i] = p; !bareKey.MatchString(p) {
			parts[i] = quoted(p)
		}
	}
	return strings.Join(parts, ".")
}

// quoted writes any text as a TOML string.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
