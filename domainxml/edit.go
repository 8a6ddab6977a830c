package domainxml

import (
	"fmt"
	"slices"
	"strings"
)

// edit replaces a range of the document; an empty range inserts.
type edit struct {
	at   span
	text string
}

// edits collects what to change in one document.
type edits struct {
	raw   []byte
	ascii bool
	list  []edit
}

func (e *edits) replace(at span, text string) { e.list = append(e.list, edit{at, text}) }

func (e *edits) insert(pos int, text string) { e.replace(span{pos, pos}, text) }

// remove takes an element away together with the whitespace before it, so that
// no empty line stays.
func (e *edits) remove(el *element) { e.replace(e.withLead(el.whole), "") }

func (e *edits) withLead(s span) span {
	for s.start > 0 && isSpace(e.raw[s.start-1]) {
		s.start--
	}
	return s
}

// lead returns the line break and indentation before a position, "" if
// anything else stands before it on its line.
func (e *edits) lead(pos int) string {
	i := pos
	for i > 0 && (e.raw[i-1] == ' ' || e.raw[i-1] == '\t') {
		i--
	}
	switch {
	case i > 1 && e.raw[i-1] == '\n' && e.raw[i-2] == '\r':
		i -= 2
	case i > 0 && e.raw[i-1] == '\n':
		i--
	default:
		return ""
	}
	return string(e.raw[i:pos])
}

// unit returns by how much a child's lead is deeper than its parent's, two
// blanks if that cannot be seen.
func (e *edits) unit(parent, child string) string {
	if parent == "" {
		parent = strings.TrimRight(child, " \t")
	}
	if unit, ok := strings.CutPrefix(child, parent); ok {
		return unit
	}
	return "  "
}

// apply returns the document with all edits done. At one place insertions come
// in the order in which they were made, before what is replaced there.
func (e *edits) apply() ([]byte, error) {
	slices.SortStableFunc(e.list, func(a, b edit) int {
		if a.at.start != b.at.start {
			return a.at.start - b.at.start
		}
		return min(a.at.len(), 1) - min(b.at.len(), 1)
	})
	out := make([]byte, 0, len(e.raw)+1024)
	done := 0
	for _, c := range e.list {
		if c.at.start < done {
			return nil, fmt.Errorf("two changes overlap at byte %d", c.at.start)
		}
		out = append(out, e.raw[done:c.at.start]...)
		out = append(out, c.text...)
		done = c.at.end
	}
	return append(out, e.raw[done:]...), nil
}

// tagEdit changes the attributes of one start tag.
type tagEdit struct {
	*edits
	el *element
	tag
}

func (e *edits) tag(el *element) (*tagEdit, error) {
	t, err := scanTag(e.raw, el.open)
	if err != nil {
		return nil, err
	}
	if len(t.attrs) != len(el.attrs) {
		return nil, fmt.Errorf("the attributes of <%s> cannot be understood", el.name.Local)
	}
	return &tagEdit{edits: e, el: el, tag: t}, nil
}

// quote returns the quote that the tag uses, or other if it has none.
func (t *tagEdit) quote(other byte) byte {
	if len(t.attrs) > 0 {
		return t.attrs[0].quote
	}
	return other
}

// set gives an attribute a value: in place if it is there, else after the last
// one. An attribute that has the value already is left as it is written.
func (t *tagEdit) set(name, value string, quote byte) {
	i := t.el.attrIndex(name)
	if i < 0 {
		t.add(t.tail, name, value, quote)
		return
	}
	if t.el.attrs[i].Value == value {
		return
	}
	a := t.attrs[i]
	t.replace(span{a.value.start - 1, a.value.end + 1}, quoted(value, a.quote, t.ascii))
}

// setIfAbsent leaves what the user chose.
func (t *tagEdit) setIfAbsent(name, value string, quote byte) {
	if t.el.attrIndex(name) < 0 {
		t.add(t.tail, name, value, quote)
	}
}

// setFirst is set, but puts a new attribute before all others.
func (t *tagEdit) setFirst(name, value string, quote byte) {
	if t.el.attrIndex(name) < 0 {
		t.add(t.name.end, name, value, quote)
		return
	}
	t.set(name, value, quote)
}

func (t *tagEdit) add(pos int, name, value string, quote byte) {
	t.insert(pos, " "+name+"="+quoted(value, quote, t.ascii))
}

// drop removes an attribute with the whitespace before it.
func (t *tagEdit) drop(name string) {
	if i := t.el.attrIndex(name); i >= 0 {
		t.replace(span{t.attrs[i].lead, t.attrs[i].whole().end}, "")
	}
}

// rename turns one attribute into another with a value of its own.
func (t *tagEdit) rename(from, to, value string) {
	a := t.attrs[t.el.attrIndex(from)]
	t.replace(a.whole(), to+"="+quoted(value, a.quote, t.ascii))
}
