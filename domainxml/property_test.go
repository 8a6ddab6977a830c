package domainxml

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// piece is a generated element; keep lists what must be in it after a rewrite,
// in this order.
type piece struct {
	text string
	keep []string
}

// generated is a document of which it is known where its parts stand.
type generated struct {
	before, after string // around all disks
	between       []string
	disks         []piece
}

func (g generated) String() string {
	s := g.before
	for i, d := range g.disks {
		s += d.text + g.between[i]
	}
	return s + g.after
}

// around returns what stands before and after the i-th disk.
func (g generated) around(i int) (string, string) {
	whole := g.String()
	start := len(g.before)
	for j := range i {
		start += len(g.disks[j].text) + len(g.between[j])
	}
	return whole[:start], whole[start+len(g.disks[i].text):]
}

// writer draws the parts of a document.
type writer struct{ t *rapid.T }

func (w writer) pick(label string, options ...string) string {
	return rapid.SampledFrom(options).Draw(w.t, label)
}

func (w writer) maybe(label string) bool { return rapid.Bool().Draw(w.t, label) }

// gap is white space that may stand between elements.
func (w writer) gap() string {
	return w.pick("gap", "", "\n", "\n  ", "\r\n\t", " ", "\n\n    ")
}

// space is white space that must stand between attributes.
func (w writer) space() string { return w.pick("space", " ", "  ", "\n   ", "\t", "\r\n") }

// noise is what may stand between elements and must stay.
func (w writer) noise() string {
	return w.pick("noise", "", "<!-- <disk type='file'><target dev='t0'/></disk> -->", "<![CDATA[<source file='x'/>]]>",
		"<?pi <disk> ?>", "<unknown a = \"it's\" b='\"'>&amp;<x/></unknown>", "<e:x xmlns:e='urn:e'><e:source file='/e'/></e:x>", "text &lt; text")
}

func (w writer) attr(name, value string) string {
	eq := w.pick("eq", "=", " = ", "=\n")
	if w.maybe("double") {
		return name + eq + `"` + strings.NewReplacer("&", "&#38;", `"`, "&quot;", "<", "&lt;").Replace(value) + `"`
	}
	return name + eq + "'" + strings.NewReplacer("&", "&amp;", "'", "&#x27;", "<", "&lt;").Replace(value) + "'"
}

// element writes an element with its attributes in any order.
func (w writer) element(name string, attrs []string, content string) string {
	s := "<" + name
	for _, a := range rapid.Permutation(attrs).Draw(w.t, "order") {
		s += w.space() + a
	}
	s += w.pick("tail", "", " ", "\n")
	if content == "" && w.maybe("short") {
		return s + "/>"
	}
	return s + ">" + content + "</" + name + w.pick("endtail", "", " ") + ">"
}

func (w writer) value() string {
	return w.pick("value", "/a", "/with 'both\" quotes", "/a&b<c", "/naïve/卷", "/x>y", "")
}

// source writes the source of a kind; keep is what must stay of it.
func (w writer) source(kind string) (string, []string) {
	attrs := map[string][]string{
		"file":    {w.attr("file", "/old"+w.value())},
		"block":   {w.attr("dev", "/old"+w.value())},
		"network": {w.attr("protocol", "rbd"), w.attr("name", "old"+w.value())},
		"volume":  {w.attr("pool", "old"), w.attr("volume", "v"+w.value())},
		"dir":     {w.attr("dir", "/old"+w.value())},
		"nvme":    {w.attr("type", "pci"), w.attr("namespace", "1"), w.attr("managed", "yes")},
	}[kind]
	var keep []string
	if w.maybe("policy") {
		policy := w.attr("startupPolicy", "optional")
		attrs, keep = append(attrs, policy), append(keep, policy)
	}
	content := ""
	for range rapid.IntRange(0, 3).Draw(w.t, "children") {
		content += w.gap()
		switch w.pick("child", "noise", "seclabel", "slices", "host", "privateData") {
		case "noise":
			n := w.noise()
			content, keep = content+n, append(keep, n)
		case "seclabel":
			n := w.element("seclabel", []string{w.attr("relabel", "no")}, "")
			content, keep = content+n, append(keep, n)
		case "slices":
			if !strings.Contains(content, "<slices") {
				content += "<slices>" + w.gap() + w.element("slice", []string{w.attr("type", "storage"), w.attr("offset", "7"), w.attr("size", "77")}, "") + "</slices>"
			}
		case "host":
			content += w.element("host", []string{w.attr("name", "old.example")}, "")
		case "privateData":
			content += w.element("privateData", nil, "<nodenames/>")
		}
	}
	return w.element("source", attrs, content), keep
}

func (w writer) driver() string {
	attrs := []string{}
	for name, values := range map[string][]string{
		"name": {"qemu"}, "type": {"raw", "qcow2"}, "cache": {"none", "writeback"}, "io": {"threads", "native"},
		"discard": {"ignore", "unmap"}, "queues": {"4"}, "discard_no_unref": {"on"}, "x:y": {"z"},
	} {
		if w.maybe(name) {
			attrs = append(attrs, w.attr(name, w.pick(name, values...)))
		}
	}
	return w.element("driver", attrs, w.pick("cache", "", "\n", "<metadata_cache><max_size>1</max_size></metadata_cache>", "<!-- d -->"))
}

func (w writer) backing(depth int) string {
	if depth == 0 {
		return "<backingStore/>"
	}
	return w.element("backingStore", []string{w.attr("type", "file")},
		w.element("format", []string{w.attr("type", "qcow2")}, "")+w.element("source", []string{w.attr("file", "/back")}, "")+w.backing(depth-1))
}

// disk writes the n-th disk, its children in any order.
func (w writer) disk(n int) piece {
	kind := w.pick("kind", "file", "block", "network", "volume", "dir", "nvme")
	source, keep := w.source(kind)
	target := w.element("target", []string{w.attr("dev", fmt.Sprintf("t%d", n)), w.attr("bus", "virtio")}, "")
	children := []string{source, target}
	p := piece{keep: append(keep, target)}
	if w.maybe("driver") {
		children = append(children, w.driver())
	}
	if w.maybe("backing") {
		children = append(children, w.backing(rapid.IntRange(0, 3).Draw(w.t, "depth")))
	}
	for range rapid.IntRange(0, 3).Draw(w.t, "extras") {
		extra := w.noise()
		children, p.keep = append(children, extra), append(p.keep, extra)
	}
	attrs := []string{w.attr("device", w.pick("device", "disk", "cdrom"))}
	if kind != "file" || w.maybe("type") {
		attrs = append(attrs, w.attr("type", kind))
	}
	content := ""
	for _, c := range rapid.Permutation(children).Draw(w.t, "children") {
		content += w.gap() + c
	}
	p.text = w.element("disk", attrs, content+w.gap())
	return p
}

func (w writer) document() generated {
	root := w.pick("bom", "", "\ufeff") + w.pick("decl", "", "<?xml version='1.0'?>", "<?xml version=\"1.0\" encoding='utf-8' ?>\r\n") +
		"<domain" + w.space() + w.attr("type", "kvm") + w.space() + "xmlns:x='urn:x'>"
	ids := w.gap() + "<name>vm1</name>" + w.gap() + w.pick("uuid", "", "<uuid>7d1f4a52-6f0e-4b5c-9b8e-0d4f8a4c1b11</uuid>") + w.gap()
	g := generated{
		before: root + ids + w.metadata() + w.gap() + w.noise() + w.gap() + "<devices>" + w.gap() + w.noise() + w.gap(),
		after:  "</devices>" + w.gap() + w.noise() + "</domain>" + w.pick("end", "", "\n", "<!-- end -->"),
	}
	for n := range rapid.IntRange(1, 4).Draw(w.t, "disks") {
		g.disks = append(g.disks, w.disk(n))
		g.between = append(g.between, w.gap()+w.noise()+w.gap())
	}
	return g
}

func (w writer) metadata() string {
	const ours = "<v:domain xmlns:v='" + Namespace + "'><v:disk target='t0' pool='p' volume='v'/></v:domain>"
	return w.pick("metadata", "", "<metadata/>", "<metadata ></metadata>", "<metadata>\n  </metadata>",
		"<metadata>\n    <o:o xmlns:o='urn:o'>text</o:o><!-- x -->\n  </metadata>",
		"<metadata>\n    "+ours+"\n  </metadata>", "<metadata><o:o xmlns:o='urn:o'/>"+ours+"<p:p xmlns:p='urn:p'/></metadata>")
}

func (w writer) path() string {
	return "/dev/" + rapid.StringOfN(rapid.RuneFrom([]rune("az/09-_.\"'&<>;# \n\r\tä卷")), 1, 20, -1).Draw(w.t, "path")
}

func (w writer) size() int64 { return rapid.Int64Range(0, 1<<40).Draw(w.t, "size") }

func TestRewriteProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := writer{t}
		g := w.document()
		doc := mustParse(t, []byte(g.String()))
		if got := mustRewrite(t, doc, nil, nil); string(got) != g.String() {
			t.Fatalf("rewriting nothing changed\n%s\nto\n%s", g, got)
		}
		if len(doc.Disks()) != len(g.disks) {
			t.Fatalf("%d disks found, want %d, in\n%s", len(doc.Disks()), len(g.disks), g)
		}
		i := rapid.IntRange(0, len(g.disks)-1).Draw(t, "rewritten")
		want := BlockDisk{Target: fmt.Sprintf("t%d", i), Path: w.path(), SliceBytes: w.size()}
		got := mustRewrite(t, doc, []BlockDisk{want}, nil)
		checkDisk(t, g, i, want, got)
		if err := onlyDiskChanged(doc, got, i, want); err != nil {
			t.Fatalf("%v\n%s\nbecame\n%s", err, g, got)
		}
	})
}

// checkDisk looks at the bytes, without our own parser.
func checkDisk(t *rapid.T, g generated, i int, want BlockDisk, got []byte) {
	before, after := g.around(i)
	if !bytes.HasPrefix(got, []byte(before)) || !bytes.HasSuffix(got, []byte(after)) {
		t.Fatalf("outside of disk %d of\n%s\nsomething changed:\n%s", i, g, got)
	}
	disk := string(got[len(before) : len(got)-len(after)])
	if err := wellFormed(strings.ReplaceAll(disk, "x:y", "y")); err != nil {
		t.Fatalf("%v: %s", err, disk)
	}
	for _, k := range g.disks[i].keep {
		if !strings.Contains(disk, k) {
			t.Fatalf("%q is gone from\n%s\nin\n%s", k, g.disks[i].text, disk)
		}
	}
	for _, gone := range []string{"old", "backingStore", "metadata_cache", "discard_no_unref", "privateData", "77"} {
		if strings.Contains(strings.ReplaceAll(disk, want.Path, ""), gone) && !strings.Contains(want.Path, gone) && !strings.Contains(fmt.Sprint(want.SliceBytes), gone) {
			t.Fatalf("%q is still in\n%s", gone, disk)
		}
	}
}

func wellFormed(s string) error {
	dec := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := dec.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestMetadataProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := writer{t}
		g := w.document()
		doc := mustParse(t, []byte(g.String()))
		meta := &Metadata{Arrival: w.pick("token", "", "a\"b", "'&'")}
		for n := range rapid.IntRange(0, 3).Draw(t, "managed") {
			meta.Disks = append(meta.Disks, ManagedDisk{Target: fmt.Sprintf("t%d", n), Pool: w.path(), Volume: w.path(), SizeBytes: w.size(), Origin: w.value()})
		}
		i := rapid.IntRange(0, len(g.disks)-1).Draw(t, "rewritten")
		disks := []BlockDisk{{Target: fmt.Sprintf("t%d", i), Path: w.path(), SliceBytes: w.size()}}
		got := mustRewrite(t, doc, disks, meta)
		after := mustParse(t, got)
		checkAsked(t, after, disks, meta)
		if again := mustRewrite(t, after, disks, meta); !bytes.Equal(again, got) {
			t.Fatalf("rewriting again changed\n%s\nto\n%s", got, again)
		}
		ours, _ := after.metadataElement()
		for name, foreign := range map[string]string{"others": "<o:o xmlns:o='urn:o'", "after": "<p:p xmlns:p='urn:p'/>"} {
			if strings.Contains(g.before, foreign) && !strings.Contains(string(got), foreign) {
				t.Fatalf("metadata of %s is gone from\n%s", name, got)
			}
		}
		_, tail := g.around(i)
		if !bytes.HasSuffix(got, []byte(tail)) || ours == nil {
			t.Fatalf("something after the disk changed in\n%s\nto\n%s", g, got)
		}
	})
}
