package domainxml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxKept bounds how many elements are kept in memory: sixteen megabytes of
// nothing but empty disks would cost many times their size.
const maxKept = 1 << 18

var utf8BOM = []byte("\xef\xbb\xbf")

// walker goes over a document once and keeps the elements that matter.
type walker struct {
	raw   []byte
	base  int // length of the byte order mark
	dec   *xml.Decoder
	ascii bool // the document declares an encoding without other characters

	root  *element
	stack []*element      // open elements; nil for one that is not kept
	seen  map[string]bool // children of <domain> of which only the first counts
	kept  int
}

// walk returns the kept elements below <domain>, and whether the document is
// declared to be ASCII.
func walk(raw []byte) (*element, bool, error) {
	if err := checkEncoding(raw); err != nil {
		return nil, false, err
	}
	w := &walker{raw: raw, seen: map[string]bool{}}
	if bytes.HasPrefix(raw, utf8BOM) {
		w.base = len(utf8BOM)
	}
	w.dec = xml.NewDecoder(bytes.NewReader(raw[w.base:]))
	w.dec.CharsetReader = w.charset
	for {
		start := w.offset()
		tok, err := w.dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, false, readable(err)
		}
		if err := w.token(tok, span{start, w.offset()}); err != nil {
			return nil, false, err
		}
	}
	if w.root == nil {
		return nil, false, fmt.Errorf("%w: the document is empty; give the output of `virsh dumpxml`", ErrNotDomain)
	}
	return w.root, w.ascii, nil
}

func (w *walker) offset() int { return w.base + int(w.dec.InputOffset()) }

// checkEncoding refuses what the tokenizer would misread or let through in
// comments.
func checkEncoding(raw []byte) error {
	if bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff")) {
		return fmt.Errorf("%w but in UTF-16; convert it, for example with iconv", ErrEncoding)
	}
	if bytes.IndexByte(raw, 0) >= 0 {
		return fmt.Errorf("%w: it has NUL bytes", ErrEncoding)
	}
	if !utf8.Valid(raw) {
		return fmt.Errorf("%w: it has bytes that are no UTF-8; convert it, for example with iconv", ErrEncoding)
	}
	return nil
}

// charset is asked for every declared encoding but UTF-8.
func (w *walker) charset(label string, input io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "us-ascii", "ascii", "ansi_x3.4-1968":
	default:
		return nil, fmt.Errorf("%w but declared as %q; convert it, for example with iconv", ErrEncoding, label)
	}
	for _, b := range w.raw {
		if b >= utf8.RuneSelf {
			return nil, fmt.Errorf("%w: it is declared as %q and has other characters", ErrEncoding, label)
		}
	}
	w.ascii = true
	return input, nil
}

// readable turns the tokenizer's error into one that says where to look.
func readable(err error) error {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("domain XML, line %d: %s", syntax.Line, syntax.Msg)
	}
	return fmt.Errorf("read domain XML: %w", err)
}

func (w *walker) token(tok xml.Token, at span) error {
	switch t := tok.(type) {
	case xml.StartElement:
		return w.open(t, at)
	case xml.EndElement:
		w.close(at)
	case xml.CharData:
		return w.text(t)
	case xml.Directive:
		return ErrDoctype
	case xml.ProcInst:
		if strings.EqualFold(t.Target, "xml") && at.start != w.base {
			return fmt.Errorf("domain XML, line %d: an XML declaration that is not at the very start", w.line())
		}
	}
	return nil
}

func (w *walker) line() int {
	line, _ := w.dec.InputPos()
	return line
}

func (w *walker) open(t xml.StartElement, at span) error {
	if len(w.stack) >= MaxDepth {
		return fmt.Errorf("%w: more than %d levels at line %d", ErrTooDeep, MaxDepth, w.line())
	}
	if len(w.stack) == 0 {
		if err := w.checkRoot(t.Name); err != nil {
			return err
		}
	}
	keep, deep := w.wanted(t.Name)
	if !keep {
		w.stack = append(w.stack, nil)
		return nil
	}
	if w.kept++; w.kept > maxKept {
		return fmt.Errorf("%w: more than %d elements within disks", ErrTooLarge, maxKept)
	}
	e := &element{name: t.Name, attrs: t.Attr, open: at, whole: at, deep: deep}
	if len(w.stack) == 0 {
		w.root = e
	} else {
		parent := w.stack[len(w.stack)-1]
		parent.children = append(parent.children, e)
	}
	w.stack = append(w.stack, e)
	return nil
}

func (w *walker) checkRoot(name xml.Name) error {
	if w.root != nil {
		return fmt.Errorf("domain XML, line %d: a second root element <%s>", w.line(), name.Local)
	}
	if name.Space != "" {
		return fmt.Errorf("%w: the root element <%s> is in the namespace %q; libvirt's is in none", ErrNotDomain, name.Local, name.Space)
	}
	if name.Local == "domain" {
		return nil
	}
	if what, ok := foreign[name.Local]; ok {
		return fmt.Errorf("%w: <%s> is %s", ErrNotDomain, name.Local, what)
	}
	return fmt.Errorf("%w: the root element is <%s>; give the output of `virsh dumpxml`", ErrNotDomain, name.Local)
}

// wanted says whether an element that opens now is kept, and whether with
// everything below it.
func (w *walker) wanted(name xml.Name) (keep, deep bool) {
	if len(w.stack) == 0 {
		return true, false
	}
	parent := w.stack[len(w.stack)-1]
	switch {
	case parent == nil:
		return false, false
	case parent.deep:
		return true, true
	case len(w.stack) == 1:
		return w.wantedOfDomain(name), false
	case parent.is("metadata"):
		return name.Space == Namespace, true
	case parent.is("devices"):
		return name.Space == "" && name.Local == "disk", true
	}
	return false, false
}

// wantedOfDomain keeps the first of each element that libvirt reads only the
// first of, and every <devices>.
func (w *walker) wantedOfDomain(name xml.Name) bool {
	if name.Space != "" {
		return false
	}
	switch name.Local {
	case "devices":
		return true
	case "name", "uuid", "genid", "metadata":
		first := !w.seen[name.Local]
		w.seen[name.Local] = true
		return first
	}
	return false
}

// close ends the innermost element. The tokenizer reports an end for <a/> too,
// of no length.
func (w *walker) close(at span) {
	e := w.stack[len(w.stack)-1]
	w.stack = w.stack[:len(w.stack)-1]
	if e == nil {
		return
	}
	e.whole.end = at.end
	e.content = span{e.open.end, at.start}
}

func (w *walker) text(t xml.CharData) error {
	if len(w.stack) == 0 {
		if len(bytes.TrimSpace(t)) > 0 {
			return fmt.Errorf("domain XML, line %d: text outside the root element", w.line())
		}
		return nil
	}
	e := w.stack[len(w.stack)-1]
	if e == nil {
		return nil
	}
	switch e.name.Local {
	case "name", "uuid", "serial", "wwn":
		e.text = append(e.text, t...)
	}
	return nil
}
