package domainxml

import (
	"slices"
	"strconv"
)

// What belongs to the old source and is gone with it. Everything else in a
// <source>, known or not, stays: security labels, startupPolicy, comments.
var (
	oldSourceAttrs = []string{
		"file", "fdgroup", "dir", "protocol", "name", "query", "tls", "tlsHostname",
		"pool", "volume", "mode", "type", "path", "namespace", "managed",
	}
	oldSourceChildren = []string{
		"auth", "host", "identity", "knownHosts", "initiator", "snapshot", "config", "cookies", "ssl",
		"timeout", "readahead", "reconnect", "address", "privateData", "dataStore",
	}
	// oldDiskChildren stand beside the source. Old documents have the
	// credentials of a network source there.
	oldDiskChildren = []string{"backingStore", "auth"}
	// What only qcow2 has; libvirt refuses it for raw.
	qcow2DriverAttrs    = []string{"discard_no_unref"}
	qcow2DriverChildren = []string{"metadata_cache"}
)

// blockEdit makes one disk a raw block disk.
type blockEdit struct {
	*edits
	disk Disk
	el   *element
	want BlockDisk
}

func (b *blockEdit) edit() error {
	disk, err := b.tag(b.el)
	if err != nil {
		return err
	}
	disk.setFirst("type", "block", b.quote())
	if err := b.driver(); err != nil {
		return err
	}
	if err := b.source(); err != nil {
		return err
	}
	for _, c := range b.el.children {
		if isAny(c, oldDiskChildren) {
			b.remove(c)
		}
	}
	return nil
}

// quote returns the quote that the disk's target is written with; each disk
// that can be rewritten has one.
func (b *blockEdit) quote() byte {
	if t, err := scanTag(b.raw, b.el.child("target").open); err == nil && len(t.attrs) > 0 {
		return t.attrs[0].quote
	}
	return '\''
}

// driver says the format and how to do I/O on a device, as far as the user did
// not choose.
func (b *blockEdit) driver() error {
	driver := b.el.child("driver")
	if driver == nil {
		b.newDriver()
		return nil
	}
	t, err := b.tag(driver)
	if err != nil {
		return err
	}
	q := t.quote(b.quote())
	t.setFirst("name", "qemu", q)
	t.set("type", "raw", q)
	for _, a := range b.defaults() {
		t.setIfAbsent(a.name, a.value, q)
	}
	for _, name := range qcow2DriverAttrs {
		t.drop(name)
	}
	b.prune(driver, t, qcow2DriverChildren)
	return nil
}

type nameValue struct{ name, value string }

// defaults are the driver's attributes that are set where they are absent.
// Native I/O needs a cache mode that bypasses the page cache; libvirt refuses
// it with another. A device that is not a plain disk keeps QEMU's defaults.
func (b *blockEdit) defaults() []nameValue {
	list := []nameValue{{"cache", "none"}}
	if b.disk.Device != "disk" {
		return list
	}
	if b.disk.Cache == "" || b.disk.Cache == "none" || b.disk.Cache == "directsync" {
		list = append(list, nameValue{"io", "native"})
	}
	return append(list, nameValue{"discard", "unmap"})
}

// newDriver writes a <driver> before the source.
func (b *blockEdit) newDriver() {
	q := b.quote()
	text := "<driver"
	for _, a := range append([]nameValue{{"name", "qemu"}, {"type", "raw"}}, b.defaults()...) {
		text += " " + a.name + "=" + quoted(a.value, q, b.ascii)
	}
	at := b.el.child("source").whole.start
	b.insert(at, text+"/>"+b.lead(at))
}

// source leads to the device and nothing else.
func (b *blockEdit) source() error {
	source := b.el.child("source")
	t, err := b.tag(source)
	if err != nil {
		return err
	}
	b.sourceAttrs(source, t)
	if b.want.SliceBytes == 0 {
		b.prune(source, t, append([]string{"slices"}, oldSourceChildren...))
		return nil
	}
	for _, c := range source.children {
		if isAny(c, oldSourceChildren) {
			b.remove(c)
		}
	}
	b.slices(source, t)
	return nil
}

// sourceAttrs turns the attribute that named the old source into dev and drops
// the others. The index is a name that libvirt gave to the node of a running
// guest; it does not belong to another device.
func (b *blockEdit) sourceAttrs(source *element, t *tagEdit) {
	if b.disk.Kind != "block" || source.attr("dev") != b.want.Path {
		t.drop("index")
	}
	named := source.attrIndex("dev") >= 0
	if named {
		t.set("dev", b.want.Path, t.quote(b.quote()))
	}
	for _, a := range source.attrs {
		switch {
		case a.Name.Space != "" || !slices.Contains(oldSourceAttrs, a.Name.Local):
		case !named:
			t.rename(a.Name.Local, "dev", b.want.Path)
			named = true
		default:
			t.drop(a.Name.Local)
		}
	}
	if !named {
		t.set("dev", b.want.Path, t.quote(b.quote()))
	}
}

// slices makes the guest see as much of the device as it had before.
func (b *blockEdit) slices(source *element, t *tagEdit) {
	old := source.child("slices")
	if old != nil && b.sliceIsRight(source, old) {
		return
	}
	lead := b.lead(source.whole.start)
	unit := b.unit(b.lead(b.el.whole.start), lead)
	inner := lead + unit
	if old != nil {
		inner = b.lead(old.whole.start)
	}
	q := t.quote(b.quote())
	deeper := inner + unit
	if inner == "" {
		deeper = ""
	}
	size := strconv.FormatInt(b.want.SliceBytes, 10)
	text := "<slices>" + deeper + "<slice type=" + quoted("storage", q, b.ascii) +
		" offset=" + quoted("0", q, b.ascii) + " size=" + quoted(size, q, b.ascii) + "/>" + inner + "</slices>"
	switch {
	case old != nil:
		b.replace(old.whole, text)
	case t.empty:
		b.replace(span{t.tail, t.end}, ">"+inner+text+lead+"</"+string(b.raw[t.name.start:t.name.end])+">")
	case source.content.len() == 0:
		b.insert(t.end, inner+text+lead)
	default:
		b.insert(t.end, inner+text)
	}
}

func (b *blockEdit) sliceIsRight(source, old *element) bool {
	slice := storageSlice(source)
	return slice != nil && len(old.children) == 1 && source.count("slices") == 1 &&
		slice.attr("offset") == "0" && b.disk.SliceBytes == b.want.SliceBytes
}

// prune removes children by name, and closes the element in its start tag if
// nothing is left in it.
func (b *blockEdit) prune(el *element, t *tagEdit, names []string) {
	var gone []*element
	for _, c := range el.children {
		if isAny(c, names) {
			gone = append(gone, c)
		}
	}
	if len(gone) == 0 {
		return
	}
	if b.blankBut(el.content, gone) {
		b.replace(span{t.tail, el.whole.end}, "/>")
		return
	}
	for _, c := range gone {
		b.remove(c)
	}
}

// blankBut reports whether a range holds nothing but these elements and white
// space.
func (b *blockEdit) blankBut(s span, els []*element) bool {
	pos := s.start
	for _, el := range append(els, &element{whole: span{s.end, s.end}}) {
		for _, c := range b.raw[pos:el.whole.start] {
			if !isSpace(c) {
				return false
			}
		}
		pos = el.whole.end
	}
	return true
}

func isAny(e *element, names []string) bool {
	return e.name.Space == "" && slices.Contains(names, e.name.Local)
}
