package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func benchmarkPrepare(b *testing.B, disks int) {
	r := newRig(b)
	xml := r.domain(r.volumes(disks)...)
	for b.Loop() {
		r.must(xml, "prepare", "begin")
		b.StopTimer()
		r.must(xml, "release", "end")
		b.StartTimer()
	}
}

func BenchmarkPrepare1(b *testing.B)  { benchmarkPrepare(b, 1) }
func BenchmarkPrepare16(b *testing.B) { benchmarkPrepare(b, 16) }

// unmanaged is a domain of ordinary length without a managed disk.
func unmanaged() string {
	line := "    <controller type='pci' index='1' model='pcie-root-port'/>\n"
	return "<domain type='kvm'>\n  <name>db1</name>\n  <uuid>" + uuid + "</uuid>\n  <devices>\n" + strings.Repeat(line, 300) + "  </devices>\n</domain>\n"
}

func BenchmarkUnmanaged(b *testing.B) {
	r := newRig(b)
	xml := unmanaged()
	for b.Loop() {
		r.must(xml, "prepare", "begin")
	}
}

// BenchmarkBare is what BenchmarkUnmanaged is to be compared with: a static
// program that only reads its stdin.
func BenchmarkBare(b *testing.B) {
	r := newRig(b)
	r.program = buildBare(b)
	xml := unmanaged()
	for b.Loop() {
		r.must(xml, "prepare", "begin")
	}
}

func buildBare(b *testing.B) string {
	dir := b.TempDir()
	source, program := filepath.Join(dir, "bare.go"), filepath.Join(dir, "bare")
	text := "package main\n\nimport (\n\t\"io\"\n\t\"os\"\n)\n\nfunc main() { io.Copy(io.Discard, os.Stdin) }\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return program
}
