package domainxml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, xml string
		is        error  // nil: any
		says      string // part of the message
	}{
		{"nothing", "", ErrNotDomain, "empty"},
		{"only a comment", "<!-- x -->", ErrNotDomain, "empty"},
		{"status", "<domstatus state='running'><domain type='kvm'/></domstatus>", ErrNotDomain, "virsh dumpxml"},
		{"snapshot", "<domainsnapshot><domain/></domainsnapshot>", ErrNotDomain, "<domainsnapshot> is a snapshot"},
		{"checkpoint", "<domaincheckpoint/>", ErrNotDomain, "checkpoint"},
		{"backup", "<domainbackup/>", ErrNotDomain, "backup"},
		{"disk alone", "<disk/>", ErrNotDomain, "whole domain"},
		{"unknown root", "<html/>", ErrNotDomain, "<html>"},
		{"root in a namespace", "<domain xmlns='urn:x'/>", ErrNotDomain, "urn:x"},
		{"doctype", "<!DOCTYPE domain><domain/>", ErrDoctype, "remove it"},
		{"entities", "<!DOCTYPE d [<!ENTITY a 'b'>]><domain>&a;</domain>", ErrDoctype, ""},
		{"doctype inside", "<domain><!DOCTYPE d></domain>", ErrDoctype, ""},
		{"entity without declaration", "<domain>&a;</domain>", nil, "line 1"},
		{"latin-1", "<?xml version='1.0' encoding='ISO-8859-1'?><domain/>", ErrEncoding, "ISO-8859-1"},
		{"utf-16", "\xff\xfe<\x00d\x00", ErrEncoding, "UTF-16"},
		{"utf-16 big", "\xfe\xff\x00<", ErrEncoding, "UTF-16"},
		{"utf-16 without mark", "<\x00d\x00", ErrEncoding, "NUL"},
		{"no utf-8 in a comment", "<domain><!-- \xe4 --></domain>", ErrEncoding, ""},
		{"ascii that is not", "<?xml version='1.0' encoding='ascii'?><domain><name>ä</name></domain>", ErrEncoding, "ascii"},
		{"version", "<?xml version='1.1'?><domain/>", nil, "1.1"},
		{"late declaration", "<domain><?xml version='1.0'?></domain>", nil, "declaration"},
		{"blank before declaration", " <?xml version='1.0'?><domain/>", nil, "declaration"},
		{"two roots", "<domain/>\n<domain/>", nil, "line 2"},
		{"text before", "x<domain/>", nil, "text outside"},
		{"text after", "<domain/>x", nil, "text outside"},
		{"wrong end", "<domain>\n<a></b></domain>", nil, "line 2"},
		{"no quotes", "<domain type=kvm/>", nil, ""},
		{"no value", "<domain type/>", nil, ""},
		{"control character", "<domain><name>\x01</name></domain>", nil, ""},
		{"reference to nothing", "<domain><name>&#0;</name></domain>", nil, ""},
		{"slice size", "<domain><name>vm1</name><devices><disk><source file='/a'><slices><slice type='storage' offset='0' size='x'/></slices></source><target dev='vda'/></disk></devices></domain>", nil, "domain vm1: disk vda"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := Parse([]byte(c.xml))
			if err == nil {
				t.Fatalf("accepted: %s", doc.Bytes())
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %v", err, c.is)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
		})
	}
}

func metadataDoc(inner string) string {
	return `<domain xmlns:v="` + Namespace + `"><name>vm1</name><metadata>` + inner + `</metadata></domain>`
}

func TestParseRefusesMetadata(t *testing.T) {
	const disk = `<v:disk target="vda" pool="p" volume="v"/>`
	for _, c := range []struct{ name, inner, says string }{
		{"two elements", "<v:domain/><a/><v:domain/>", "two elements"},
		{"another element", "<v:disk/>", "<disk>"},
		{"no target", `<v:domain><v:disk pool="p" volume="v"/></v:domain>`, "no target"},
		{"no pool", `<v:domain><v:disk target="vda" volume="v"/></v:domain>`, "disk vda has no pool"},
		{"no volume", `<v:domain><v:disk target="vda" pool="p" volume=""/></v:domain>`, "no volume"},
		{"foreign attribute", `<v:domain><v:disk target="vda" pool="p" v:volume="v"/></v:domain>`, "no volume"},
		{"target twice", `<v:domain>` + disk + disk + `</v:domain>`, "twice"},
		{"size no number", `<v:domain><v:disk target="vda" pool="p" volume="v" size="10G"/></v:domain>`, "10G"},
		{"size zero", `<v:domain><v:disk target="vda" pool="p" volume="v" size="0"/></v:domain>`, "positive"},
		{"size too large", `<v:domain><v:disk target="vda" pool="p" volume="v" size="9223372036854775808"/></v:domain>`, "9223372036854775808"},
		{"no token", `<v:domain><v:arrival/></v:domain>`, "token"},
		{"two arrivals", `<v:domain><v:arrival token="a"/><v:arrival token="a"/></v:domain>`, "once"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(metadataDoc(c.inner)))
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "vm1") {
				t.Errorf("got %v, want an error of vm1 that says %q", err, c.says)
			}
		})
	}
}

func TestParseBounds(t *testing.T) {
	nested := func(n int) []byte {
		return []byte("<domain>" + strings.Repeat("<a>", n-1) + strings.Repeat("</a>", n-1) + "</domain>")
	}
	if _, err := Parse(nested(MaxDepth)); err != nil {
		t.Errorf("%d levels: %v", MaxDepth, err)
	}
	if _, err := Parse(nested(MaxDepth + 1)); !errors.Is(err, ErrTooDeep) {
		t.Errorf("%d levels: got %v", MaxDepth+1, err)
	}
	bomb := bytes.Repeat([]byte("<disk>"), MaxBytes/6-10)
	for _, head := range []string{"<domain>", "<domain><devices>"} {
		if _, err := Parse(append([]byte(head), bomb...)); !errors.Is(err, ErrTooDeep) {
			t.Errorf("%s…: got %v", head, err)
		}
	}
	many := "<domain><devices>" + strings.Repeat("<disk/>", maxKept) + "</devices></domain>"
	if _, err := Parse([]byte(many)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d disks: got %v", maxKept, err)
	}
}

// TestParseHuge must be over before a reader would have seen a part of it.
func TestParseHuge(t *testing.T) {
	huge := bytes.Repeat([]byte(" "), 100<<20)
	copy(huge, "<domain><name>vm1</name>")
	copy(huge[len(huge)-9:], "</domain>")
	took := time.Hour
	for range 5 { // a busy machine may stop for a while
		start := time.Now()
		if _, err := Parse(huge); !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %v", err)
		}
		took = min(took, time.Since(start))
	}
	if took > 100*time.Millisecond {
		t.Errorf("refusing 100 MB took %v", took)
	}
	full := huge[:MaxBytes]
	copy(full[len(full)-9:], "</domain>")
	if _, err := Parse(full); err != nil {
		t.Errorf("%d bytes: %v", MaxBytes, err)
	}
}

// TestTruncated cuts documents at every byte: nothing but white space or a
// comment may be missing from one that is accepted.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"everything-stays", "metadata-equal-prefix", "tabs-bom-declaration", "crlf", "network-rbd"} {
		raw := readFile(t, "testdata/"+name+".in.xml")
		end := bytes.LastIndex(raw, []byte("</domain>")) + len("</domain>")
		for n := range len(raw) {
			doc, err := Parse(raw[:n])
			if err != nil {
				continue
			}
			if n < end {
				t.Fatalf("%s: accepted when cut at byte %d of %d", name, n, end)
			}
			if rest := doc.Bytes(); !bytes.Equal(rest, raw[:n]) {
				t.Fatalf("%s: cut at %d: other bytes", name, n)
			}
		}
	}
}

func TestDocument(t *testing.T) {
	raw := []byte(`<domain type="qemu"><uuid>
  7D1F4A52-6F0E-4B5C-9B8E-0D4F8A4C1B11 </uuid><name>a&amp;<![CDATA[<b>]]></name><name>second</name></domain>`)
	doc := mustParse(t, raw)
	raw[0] = 'X' // the document is a copy
	if doc.Name() != "a&<b>" || doc.UUID() != "7d1f4a52-6f0e-4b5c-9b8e-0d4f8a4c1b11" || doc.Type() != "qemu" {
		t.Errorf("got name %q, uuid %q, type %q", doc.Name(), doc.UUID(), doc.Type())
	}
	if doc.Bytes()[0] != '<' {
		t.Error("the document changes with the caller's bytes")
	}
	if _, ok := doc.Metadata(); ok {
		t.Error("metadata out of nothing")
	}
	if _, ok := doc.Disk("vda"); ok {
		t.Error("a disk out of nothing")
	}
	empty := mustParse(t, []byte("<domain/>"))
	if empty.Name() != "" || empty.UUID() != "" || empty.Disks() != nil {
		t.Error("an empty domain has something")
	}
}

func TestDisks(t *testing.T) {
	doc := mustParse(t, []byte(`<domain><name>vm1</name><devices>
<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap' detect_zeroes='on'/>
  <source file='/top&#x20;1.qcow2'><slices><slice type='storage' offset='1' size='42'/></slices><encryption format='luks'/></source>
  <backingStore type='block'><format type='raw'/><source dev='/dev/b'><reservations/></source>
    <backingStore type='network'><format type='qcow2'/><source protocol='rbd' name='p/v'/><backingStore/></backingStore>
  </backingStore>
  <target dev='vda' bus='virtio'/><readonly/><shareable/><transient/><serial>S1</serial><wwn>5000c50015ea71ad</wwn>
</disk>
<disk type='block' device='lun'><source dev='/dev/sdx'><reservations managed='yes'/></source><target dev='sda' bus='scsi'/></disk>
<disk device='cdrom'><target dev='hda'/></disk>
<disk type='volume'><source pool='p' volume='v'/><target dev='vdb'/></disk>
<disk type='network'><source protocol='nbd'/><target dev='vdc'/></disk>
<disk type='nvme'><source type='pci'/><target dev='vdd'/></disk>
<disk type='vhostuser'><source type='unix' path='/s'/><target dev='vde'/></disk>
<disk type='dir'><source dir='/d'/><target dev='vdf'/></disk>
<disk type='later'><source path='/l'/><target dev='vdg'/></disk>
</devices></domain>`))
	want := []Disk{
		{
			Kind: "file", Device: "disk", Target: "vda", Bus: "virtio", Source: "/top 1.qcow2", Format: "qcow2",
			Cache: "none", IO: "native", Discard: "unmap", DetectZeroes: "on", ReadOnly: true, Shareable: true,
			Transient: true, Serial: "S1", WWN: "5000c50015ea71ad", SliceBytes: 42,
			Backing:    []Backing{{"block", "raw", "/dev/b"}, {"network", "qcow2", "p/v"}},
			Unkeepable: []string{"encryption"},
		},
		{Kind: "block", Device: "lun", Target: "sda", Bus: "scsi", Source: "/dev/sdx", Unkeepable: []string{"reservations"}},
		{Kind: "file", Device: "cdrom", Target: "hda"},
		{Kind: "volume", Device: "disk", Target: "vdb", Pool: "p", Volume: "v"},
		{Kind: "network", Device: "disk", Target: "vdc"},
		{Kind: "nvme", Device: "disk", Target: "vdd"},
		{Kind: "vhostuser", Device: "disk", Target: "vde", Source: "/s"},
		{Kind: "dir", Device: "disk", Target: "vdf", Source: "/d"},
		{Kind: "later", Device: "disk", Target: "vdg", Source: "/l"},
	}
	for i := range want {
		want[i].Index = i
	}
	got := doc.Disks()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, d := range got {
		if d.Empty() != (d.Target == "hda") {
			t.Errorf("disk %s: empty is %v", d.Target, d.Empty())
		}
	}
	if d, ok := doc.Disk("vdf"); !ok || d.Index != 7 {
		t.Errorf("got %+v", d)
	}
}

func ExampleParse() {
	doc, err := Parse([]byte(`<domain type='kvm'>
  <name>vm1</name>
  <devices>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw'/>
      <source dev='/dev/volbridge/fast/vm1-vda'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range doc.Disks() {
		fmt.Println(doc.Name(), d.Target, d.Source)
	}
	// Output: vm1 vda /dev/volbridge/fast/vm1-vda
}
