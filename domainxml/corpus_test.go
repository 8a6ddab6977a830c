package domainxml

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"

	"github.com/volbridge/volbridge/internal/testenv"
)

// corpusDir holds libvirt's own test files; scripts/fetch-libvirt-xml.sh makes
// it.
func corpusDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("VOLBRIDGE_LIBVIRT_XML")
	if dir == "" {
		cache := os.Getenv("VOLBRIDGE_CACHE")
		if cache == "" {
			cache = filepath.Join("..", ".cache")
		}
		dir = filepath.Join(cache, "libvirt-xml")
	}
	if _, err := os.Stat(filepath.Join(dir, "tests")); err != nil {
		testenv.Missing(t, "libvirt's XML files in "+dir+": run scripts/fetch-libvirt-xml.sh")
	}
	return dir
}

type corpusDoc struct {
	name string // relative to the corpus
	doc  *Document
}

// corpus returns every document of libvirt's tests that is a domain. Of all
// others, Parse must say that they are not.
func corpus(t testing.TB) []corpusDoc {
	t.Helper()
	root := filepath.Join(corpusDir(t), "tests")
	var docs []corpusDoc
	others, broken := 0, 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".xml" {
			return err
		}
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a link out of the tests
		}
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		doc, err := Parse(raw)
		switch {
		case err == nil:
			docs = append(docs, corpusDoc{name, doc})
		case errors.Is(err, ErrNotDomain):
			others++
		default:
			broken++
			if why, ok := corpusBroken[name]; !ok {
				t.Errorf("%s: %v", name, err)
			} else {
				t.Logf("%s: %v (%s)", name, err, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if broken != len(corpusBroken) {
		t.Errorf("%d documents could not be read, want %d", broken, len(corpusBroken))
	}
	if len(docs) < 1500 {
		t.Errorf("only %d domain documents found", len(docs))
	}
	t.Logf("%d domain documents, %d others refused, %d unreadable", len(docs), others, broken)
	return docs
}

// corpusBroken lists the files of libvirt's tests that no XML reader takes.
var corpusBroken = map[string]string{}

func TestCorpusRewriteNothing(t *testing.T) {
	for _, c := range corpus(t) {
		if got := mustRewrite(t, c.doc, nil, nil); !bytes.Equal(got, c.doc.Bytes()) {
			t.Errorf("%s: rewriting nothing changed the document", c.name)
		}
	}
}

// TestCorpusDisks compares what is read with libvirt's own Go types, which
// read through encoding/xml's unmarshalling.
func TestCorpusDisks(t *testing.T) {
	compared := 0
	for _, c := range corpus(t) {
		var want libvirtxml.Domain
		if err := want.Unmarshal(string(c.doc.Bytes())); err != nil {
			t.Logf("%s: libvirtxml: %v", c.name, err)
			continue
		}
		var disks []libvirtxml.DomainDisk
		if want.Devices != nil {
			disks = want.Devices.Disks
		}
		got := c.doc.Disks()
		if c.doc.Name() != want.Name || len(got) != len(disks) {
			t.Errorf("%s: name %q with %d disks, want %q with %d", c.name, c.doc.Name(), len(got), want.Name, len(disks))
			continue
		}
		for i := range got {
			if diff := cmp.Diff(typedDisk(disks[i]), withoutExtras(got[i])); diff != "" {
				t.Errorf("%s: disk %d: -libvirtxml +ours\n%s", c.name, i, diff)
			}
			compared++
		}
	}
	t.Logf("%d disks compared", compared)
}

// withoutExtras leaves out what libvirtxml has no counterpart for.
func withoutExtras(d Disk) Disk {
	d.Index, d.Backing, d.Unkeepable = 0, nil, nil
	if d.Kind == "vhostuser" {
		d.Source = ""
	}
	return d
}

func typedDisk(d libvirtxml.DomainDisk) Disk {
	out := Disk{
		Kind: "file", Device: "disk", Serial: d.Serial, WWN: d.WWN,
		ReadOnly: d.ReadOnly != nil, Shareable: d.Shareable != nil, Transient: d.Transient != nil,
	}
	if d.Device != "" {
		out.Device = d.Device
	}
	if d.Target != nil {
		out.Target, out.Bus = d.Target.Dev, d.Target.Bus
	}
	if d.Driver != nil {
		out.Format, out.Cache, out.IO = d.Driver.Type, d.Driver.Cache, d.Driver.IO
		out.Discard, out.DetectZeroes = d.Driver.Discard, d.Driver.DetectZeros
	}
	if d.Source == nil {
		return out
	}
	s := d.Source
	switch {
	case s.File != nil:
		out.Source = s.File.File
	case s.Block != nil:
		out.Kind, out.Source = "block", s.Block.Dev
	case s.Dir != nil:
		out.Kind, out.Source = "dir", s.Dir.Dir
	case s.Network != nil:
		out.Kind, out.Source = "network", s.Network.Name
	case s.Volume != nil:
		out.Kind, out.Pool, out.Volume = "volume", s.Volume.Pool, s.Volume.Volume
	case s.NVME != nil:
		out.Kind = "nvme"
	case s.VHostUser != nil:
		out.Kind = "vhostuser"
	}
	if s.Slices != nil {
		for _, slice := range s.Slices.Slices {
			out.SliceBytes = int64(slice.Size)
		}
	}
	return out
}

const corpusSize = 10 << 20

// rewrites are all documents made from one of the corpus.
type rewrites struct {
	out     [][]byte
	refused map[string]int
}

// rewriteEach rewrites each disk in turn, once with and once without a slice,
// and the metadata, and checks that nothing else changed.
func rewriteEach(t *testing.T, c corpusDoc, r *rewrites) {
	t.Helper()
	for i, disk := range c.doc.Disks() {
		for _, size := range []int64{0, corpusSize} {
			want := BlockDisk{Target: disk.Target, Path: fmt.Sprintf("/dev/volbridge/fast/vm-%d", i), SliceBytes: size}
			got, err := c.doc.Rewrite([]BlockDisk{want}, nil)
			if err != nil {
				r.refused[refusal(t, c, disk, err)]++
				continue
			}
			if err := onlyDiskChanged(c.doc, got, i, want); err != nil {
				t.Errorf("%s: disk %s: %v", c.name, disk.Target, err)
			}
			r.out = append(r.out, got)
		}
	}
	meta := &Metadata{Disks: []ManagedDisk{{Target: "vda", Pool: "fast", Volume: "vm", SizeBytes: corpusSize}}, Arrival: "a1"}
	got := mustRewrite(t, c.doc, nil, meta)
	after := mustParse(t, got)
	checkAsked(t, after, nil, meta)
	if diff := cmp.Diff(c.doc.Disks(), after.Disks()); diff != "" {
		t.Errorf("%s: metadata changed the disks: %s", c.name, diff)
	}
	r.out = append(r.out, got)
}

// refusal sorts an error into those that a disk of the corpus may give.
func refusal(t *testing.T, c corpusDoc, disk Disk, err error) string {
	t.Helper()
	var keep *UnkeepableError
	switch {
	case errors.As(err, &keep):
		return keep.What
	case errors.Is(err, ErrNoMedium):
		return "no medium"
	case errors.Is(err, ErrBlockJob):
		return "block job"
	case disk.Device == "floppy":
		return "floppy"
	case disk.Target == "":
		return "no target"
	case disk.Device == "lun":
		return "lun with a slice"
	}
	same := 0
	for _, other := range c.doc.Disks() {
		if other.Target == disk.Target {
			same++
		}
	}
	if same > 1 {
		return "target twice"
	}
	t.Errorf("%s: disk %s: %v", c.name, disk.Target, err)
	return "unexpected"
}

// onlyDiskChanged compares the documents without one disk, and the other disks.
func onlyDiskChanged(before *Document, raw []byte, i int, want BlockDisk) error {
	after, err := Parse(raw)
	if err != nil {
		return err
	}
	if len(after.disks) != len(before.disks) {
		return fmt.Errorf("%d disks became %d", len(before.disks), len(after.disks))
	}
	if !bytes.Equal(without(before, i), without(after, i)) {
		return errors.New("bytes outside the disk changed")
	}
	for j := range before.disks {
		if j == i {
			continue
		}
		if diff := cmp.Diff(before.disks[j], after.disks[j]); diff != "" {
			return fmt.Errorf("disk %d changed: %s", j, diff)
		}
	}
	got := after.disks[i]
	if got.Kind != "block" || got.Format != "raw" || got.Source != want.Path || got.SliceBytes != want.SliceBytes || got.Backing != nil {
		return fmt.Errorf("got %+v", got)
	}
	old := before.disks[i]
	if got.Target != old.Target || got.Bus != old.Bus || got.Device != old.Device || got.Serial != old.Serial ||
		got.WWN != old.WWN || got.ReadOnly != old.ReadOnly || got.Shareable != old.Shareable || got.Transient != old.Transient {
		return fmt.Errorf("what the guest sees changed: %+v became %+v", old, got)
	}
	again, err := after.Rewrite([]BlockDisk{want}, nil)
	if err != nil || !bytes.Equal(again, raw) {
		return fmt.Errorf("rewriting again is not the same: %v", err)
	}
	return nil
}

// without returns the document without its i-th disk.
func without(d *Document, i int) []byte {
	s := d.diskAt[i].whole
	return append(append([]byte(nil), d.raw[:s.start]...), d.raw[s.end:]...)
}
