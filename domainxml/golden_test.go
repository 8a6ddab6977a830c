package domainxml

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// spec is what a golden pair asks Rewrite to do.
type spec struct {
	About string
	Disks []BlockDisk
	Meta  *Metadata
}

func TestGolden(t *testing.T) {
	ins, err := filepath.Glob("testdata/*.in.xml")
	if err != nil {
		t.Fatal(err)
	}
	if len(ins) < 25 {
		t.Fatalf("only %d golden pairs found", len(ins))
	}
	for _, in := range ins {
		base := strings.TrimSuffix(in, ".in.xml")
		t.Run(filepath.Base(base), func(t *testing.T) { golden(t, base) })
	}
}

func golden(t *testing.T, base string) {
	raw, s := readFile(t, base+".in.xml"), readSpec(t, base+".spec.json")
	doc := mustParse(t, raw)
	if got := mustRewrite(t, doc, nil, nil); !bytes.Equal(got, raw) {
		t.Error("rewriting nothing changed the document")
	}
	got := mustRewrite(t, doc, s.Disks, s.Meta)
	if *update {
		if err := os.WriteFile(base+".out.xml", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readFile(t, base+".out.xml")), string(got)); diff != "" {
		t.Errorf("%s: -want +got\n%s", s.About, diff)
	}
	after := mustParse(t, got)
	checkAsked(t, after, s.Disks, s.Meta)
	if again := mustRewrite(t, after, s.Disks, s.Meta); !bytes.Equal(again, got) {
		t.Errorf("rewriting again changed the document: %s", cmp.Diff(string(got), string(again)))
	}
}

func readSpec(t *testing.T, name string) spec {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(readFile(t, name)))
	dec.DisallowUnknownFields()
	var s spec
	if err := dec.Decode(&s); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func mustParse(t fataler, raw []byte) *Document {
	t.Helper()
	doc, err := Parse(raw)
	if err != nil {
		t.Fatalf("parse: %v\n%s", err, raw)
	}
	return doc
}

func mustRewrite(t fataler, doc *Document, disks []BlockDisk, meta *Metadata) []byte {
	t.Helper()
	out, err := doc.Rewrite(disks, meta)
	if err != nil {
		t.Fatalf("rewrite: %v\n%s", err, doc.Bytes())
	}
	return out
}

// checkAsked compares a rewritten document with what was asked for.
func checkAsked(t fataler, doc *Document, disks []BlockDisk, meta *Metadata) {
	t.Helper()
	for _, want := range disks {
		got, ok := doc.Disk(want.Target)
		if !ok {
			t.Fatalf("disk %s is gone", want.Target)
		}
		if got.Kind != "block" || got.Format != "raw" || got.Source != want.Path ||
			got.SliceBytes != want.SliceBytes || got.Backing != nil || got.Pool != "" || got.Cache == "" {
			t.Errorf("disk %s: got %+v, want a raw block disk as %+v", want.Target, got, want)
		}
	}
	if meta == nil {
		return
	}
	if got, ok := doc.Metadata(); !ok || !got.Equal(*meta) {
		t.Errorf("metadata: got %+v, want %+v", got, *meta)
	}
}
