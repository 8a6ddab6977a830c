package domainxml

import "encoding/xml"

// span is a range of bytes of the document.
type span struct{ start, end int }

func (s span) len() int { return s.end - s.start }

// element is one element that volbridge looks into, with the bytes that it
// stands on.
type element struct {
	name     xml.Name
	attrs    []xml.Attr // decoded, in the order of the document
	children []*element // those that were kept
	text     []byte     // only of elements that are read for it

	whole   span // from < of the start tag to > of the end tag
	open    span // the start tag
	content span // between the tags; empty and at the end for <a/>
	deep    bool // everything below is kept
}

// is reports whether the element has this name and no namespace, as all of
// libvirt's own elements.
func (e *element) is(local string) bool {
	return e.name.Space == "" && e.name.Local == local
}

// attr returns an attribute's value, "" if it is absent.
func (e *element) attr(name string) string {
	if i := e.attrIndex(name); i >= 0 {
		return e.attrs[i].Value
	}
	return ""
}

func (e *element) attrIndex(name string) int {
	for i, a := range e.attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return i
		}
	}
	return -1
}

// child returns the first child of that name, or nil.
func (e *element) child(local string) *element {
	for _, c := range e.children {
		if c.is(local) {
			return c
		}
	}
	return nil
}

// count returns how many children have that name.
func (e *element) count(local string) int {
	n := 0
	for _, c := range e.children {
		if c.is(local) {
			n++
		}
	}
	return n
}

// childAttr returns an attribute of the first child of that name, "" if either
// is absent.
func (e *element) childAttr(local, name string) string {
	if c := e.child(local); c != nil {
		return c.attr(name)
	}
	return ""
}

// holds reports whether an element of that name stands anywhere below e.
func (e *element) holds(local string) bool {
	for _, c := range e.children {
		if c.is(local) || c.holds(local) {
			return true
		}
	}
	return false
}
