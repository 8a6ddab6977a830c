package domainxml

import "fmt"

// tag is a start tag, scanned where it stands.
type tag struct {
	name  span
	attrs []rawAttr // in the same order as element.attrs
	tail  int       // after the last attribute or the name: where one more can go
	end   int       // after >
	empty bool      // <a/>
}

// rawAttr is the place of one attribute.
type rawAttr struct {
	lead  int  // where the whitespace before it starts
	name  span // with its prefix
	value span // between the quotes
	quote byte
}

// whole is the attribute with its quotes, without the whitespace before it.
func (a rawAttr) whole() span { return span{a.name.start, a.value.end + 1} }

// scanTag finds the attributes of a start tag that the tokenizer has accepted.
// What the tokenizer lets through and libvirt's XML library refuses, a missing
// space or an attribute given twice, is an error here.
func scanTag(raw []byte, at span) (tag, error) {
	s := tagScanner{raw: raw, pos: at.start, end: at.end}
	t := tag{end: at.end}
	if !s.take('<') {
		return t, s.unexpected()
	}
	t.name = s.word()
	seen := map[string]bool{}
	for {
		t.tail = s.pos
		lead := s.pos
		s.space()
		if s.take('>') {
			return t, s.finish()
		}
		if s.take('/') {
			t.empty = true
			if !s.take('>') {
				return t, s.unexpected()
			}
			return t, s.finish()
		}
		if s.pos == lead {
			return t, fmt.Errorf("no space between the attributes of <%s>", text(raw, t.name))
		}
		a, err := s.attr(lead)
		if err != nil {
			return t, err
		}
		name := text(raw, a.name)
		if seen[name] {
			return t, fmt.Errorf("<%s> has two attributes %s", text(raw, t.name), name)
		}
		seen[name] = true
		t.attrs = append(t.attrs, a)
	}
}

func text(raw []byte, s span) string { return string(raw[s.start:s.end]) }

type tagScanner struct {
	raw      []byte
	pos, end int
}

func (s *tagScanner) peek() byte {
	if s.pos >= s.end {
		return 0
	}
	return s.raw[s.pos]
}

func (s *tagScanner) take(b byte) bool {
	if s.peek() != b {
		return false
	}
	s.pos++
	return true
}

func (s *tagScanner) space() {
	for s.pos < s.end && isSpace(s.raw[s.pos]) {
		s.pos++
	}
}

// word takes a name: everything up to a space or a delimiter.
func (s *tagScanner) word() span {
	start := s.pos
	for s.pos < s.end {
		switch b := s.raw[s.pos]; {
		case isSpace(b), b == '=', b == '>', b == '/', b == '"', b == '\'', b == '<':
			return span{start, s.pos}
		}
		s.pos++
	}
	return span{start, s.pos}
}

func (s *tagScanner) attr(lead int) (rawAttr, error) {
	a := rawAttr{lead: lead, name: s.word()}
	s.space()
	if a.name.len() == 0 || !s.take('=') {
		return a, s.unexpected()
	}
	s.space()
	a.quote = s.peek()
	if a.quote != '"' && a.quote != '\'' {
		return a, s.unexpected()
	}
	s.pos++
	a.value.start = s.pos
	for s.pos < s.end && s.raw[s.pos] != a.quote {
		s.pos++
	}
	a.value.end = s.pos
	if !s.take(a.quote) {
		return a, s.unexpected()
	}
	return a, nil
}

func (s *tagScanner) finish() error {
	if s.pos != s.end {
		return s.unexpected()
	}
	return nil
}

func (s *tagScanner) unexpected() error {
	return fmt.Errorf("the start tag at byte %d cannot be understood", s.pos)
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }
