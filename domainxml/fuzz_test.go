package domainxml

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRewrite: whatever Parse accepts, a rewrite is refused, or is a document
// that shows what was asked for and stays as it is when rewritten again.
func FuzzRewrite(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.in.xml")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for i, name := range seeds {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, "/dev/volbridge/fast/vm1", int64(i%2)<<20)
	}
	f.Add([]byte("<domain><devices><disk><source file='&#x61;'/><target dev='vda'/></disk></devices></domain>"), "/dev/\"<&'>", int64(0))
	f.Fuzz(func(t *testing.T, raw []byte, path string, size int64) {
		doc, err := Parse(raw)
		if err != nil {
			if doc != nil {
				t.Error("a document beside an error")
			}
			return
		}
		if got := mustRewrite(t, doc, nil, nil); !bytes.Equal(got, raw) {
			t.Fatalf("rewriting nothing changed\n%s\nto\n%s", raw, got)
		}
		fuzzMetadata(t, doc)
		for i, disk := range doc.Disks() {
			want := BlockDisk{Target: disk.Target, Path: path, SliceBytes: size}
			got, err := doc.Rewrite([]BlockDisk{want}, nil)
			if err != nil {
				continue
			}
			if err := onlyDiskChanged(doc, got, i, want); err != nil {
				t.Fatalf("%v\n%s\nbecame\n%s", err, raw, got)
			}
		}
	})
}

func fuzzMetadata(t *testing.T, doc *Document) {
	meta := exampleMetadata()
	got, err := doc.Rewrite(nil, &meta)
	if err != nil {
		return
	}
	after, err := Parse(got)
	if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrTooDeep) {
		return
	}
	if err != nil {
		t.Fatalf("%v\n%s\nbecame\n%s", err, doc.Bytes(), got)
	}
	if m, ok := after.Metadata(); !ok || !m.Equal(meta) {
		t.Fatalf("metadata %+v in\n%s", m, got)
	}
	if len(after.Disks()) != len(doc.Disks()) {
		t.Fatalf("the metadata changed the disks of\n%s", got)
	}
}
