package domainxml

import (
	"errors"
	"strconv"
	"strings"
)

// Unqualified returns the element without prefix and namespace, as
// virDomainSetMetadata wants it beside Namespace and Prefix: it adds both, and
// fails on an element that has them already.
func (m Metadata) Unqualified() []byte {
	return []byte(m.format("", layout{lead: "\n", unit: "  "}))
}

// layout says how the lines of an element begin: lead is the line break and
// indentation of its own, unit what each level adds. An empty lead keeps
// everything in one line.
type layout struct {
	lead, unit string
	ascii      bool
}

func (l layout) inner() layout {
	if l.lead != "" {
		l.lead += l.unit
	}
	return l
}

func (m Metadata) format(prefix string, l layout) string {
	open := ""
	name := func(local string) string { return local }
	if prefix != "" {
		name = func(local string) string { return prefix + ":" + local }
		open = " xmlns:" + prefix + `="` + Namespace + `"`
	}
	var b strings.Builder
	b.WriteString("<" + name("domain") + open)
	if len(m.Disks) == 0 && m.Arrival == "" {
		b.WriteString("/>")
		return b.String()
	}
	b.WriteString(">")
	for _, d := range m.Disks {
		b.WriteString(l.inner().lead + "<" + name("disk"))
		attr(&b, "target", d.Target, l.ascii)
		attr(&b, "pool", d.Pool, l.ascii)
		attr(&b, "volume", d.Volume, l.ascii)
		if d.SizeBytes > 0 {
			attr(&b, "size", strconv.FormatInt(d.SizeBytes, 10), l.ascii)
		}
		if d.Origin != "" {
			attr(&b, "origin", d.Origin, l.ascii)
		}
		b.WriteString("/>")
	}
	if m.Arrival != "" {
		b.WriteString(l.inner().lead + "<" + name("arrival"))
		attr(&b, "token", m.Arrival, l.ascii)
		b.WriteString("/>")
	}
	b.WriteString(l.lead + "</" + name("domain") + ">")
	return b.String()
}

func attr(b *strings.Builder, name, value string, ascii bool) {
	b.WriteString(" " + name + "=" + quoted(value, '"', ascii))
}

// rewriteMetadata replaces or creates our element.
func (d *Document) rewriteMetadata(e *edits, m Metadata) error {
	if err := m.Check(); err != nil {
		return err
	}
	if d.hasMeta && d.meta.Equal(m) {
		return nil
	}
	ours, around := d.metadataElement()
	switch {
	case ours != nil:
		lead := e.lead(ours.whole.start)
		unit := e.unit(e.lead(around.whole.start), lead)
		e.replace(ours.whole, m.format(Prefix, layout{lead, unit, d.ascii}))
	case around != nil:
		return d.addToMetadata(e, around, m)
	default:
		return d.addMetadata(e, m)
	}
	return nil
}

// addToMetadata writes our element as the last one of an existing <metadata>.
func (d *Document) addToMetadata(e *edits, around *element, m Metadata) error {
	t, err := e.tag(around)
	if err != nil {
		return err
	}
	outer := layout{e.lead(around.whole.start), "", d.ascii}
	outer.unit = e.unit(e.lead(d.root.whole.start), outer.lead)
	inner := outer.inner()
	text := inner.lead + m.format(Prefix, inner)
	switch {
	case t.empty:
		e.replace(span{t.tail, t.end}, ">"+text+outer.lead+"</metadata>")
	case around.content.len() == 0:
		e.insert(t.end, text+outer.lead)
	default:
		last := e.withLead(span{around.content.end, around.content.end})
		e.insert(max(last.start, t.end), text)
	}
	return nil
}

// addMetadata writes a <metadata> after what names the domain, where libvirt
// writes it too. Between a name and a genid libxml2 would not accept it.
func (d *Document) addMetadata(e *edits, m Metadata) error {
	var after *element
	for _, c := range d.root.children {
		if c.is("name") || c.is("uuid") || c.is("genid") {
			after = c
		}
	}
	if after == nil {
		return errors.New("the domain has no <name>")
	}
	outer := layout{e.lead(after.whole.start), "", d.ascii}
	outer.unit = e.unit(e.lead(d.root.whole.start), outer.lead)
	inner := outer.inner()
	e.insert(after.whole.end, outer.lead+"<metadata>"+inner.lead+m.format(Prefix, inner)+outer.lead+"</metadata>")
	return nil
}
