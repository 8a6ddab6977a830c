package domainxml

import (
	"os"
	"testing"
)

// benchDoc is a domain of about 300 lines as libvirt prints it.
func benchDoc(b *testing.B) []byte {
	b.Helper()
	raw, err := os.ReadFile("testdata/bench.xml")
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

func BenchmarkParse(b *testing.B) {
	raw := benchDoc(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRewrite(b *testing.B) {
	doc, err := Parse(benchDoc(b))
	if err != nil {
		b.Fatal(err)
	}
	disks := []BlockDisk{{Target: "vda", Path: "/dev/volbridge/fast/vm1-vda", SliceBytes: 104857600}}
	meta := &Metadata{Disks: []ManagedDisk{{Target: "vda", Pool: "fast", Volume: "vm1-vda"}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := doc.Rewrite(disks, meta); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCorpus parses each of libvirt's own test files and makes every disk
// that can be one a raw block disk.
func BenchmarkCorpus(b *testing.B) {
	docs := corpus(b)
	rewritten := 0
	for b.Loop() {
		for _, c := range docs {
			doc, err := Parse(c.doc.Bytes())
			if err != nil {
				b.Fatal(err)
			}
			for _, disk := range doc.Disks() {
				if _, err := doc.Rewrite([]BlockDisk{{Target: disk.Target, Path: "/dev/x"}}, nil); err == nil {
					rewritten++
				}
			}
		}
	}
	if rewritten == 0 {
		b.Fatal("no disk was rewritten")
	}
	b.ReportMetric(float64(b.N*len(docs))/b.Elapsed().Seconds(), "documents/s")
}
