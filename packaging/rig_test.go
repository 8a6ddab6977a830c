// Package packaging_test makes the packages and installs, upgrades and removes
// them in scratch roots.
package packaging_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The versions that are packed, as git describe would say them.
const (
	older = "v1.0.0"
	newer = "v1.1.0"
)

// built are programs and packages, made once for all tests.
type built struct {
	dir, bin, pack, nfpm string
}

var (
	once    sync.Once
	shared  built
	failure error
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// build makes the programs as `make build` does, without what git says of the
// tree: that is not the same before and after a commit.
func build(t *testing.T) built {
	t.Helper()
	once.Do(func() { shared, failure = buildAll() })
	if failure != nil {
		t.Fatal(failure)
	}
	return shared
}

func buildAll() (b built, err error) {
	if b.dir, err = os.MkdirTemp("", "volbridge-packaging-"); err != nil {
		return b, err
	}
	b.bin, b.pack, b.nfpm = filepath.Join(b.dir, "bin"), filepath.Join(b.dir, "pack"), filepath.Join(b.dir, "nfpm")
	for _, c := range []struct {
		dir, env string
		args     string
	}{
		{"..", "CGO_ENABLED=1", "-tags libvirt_dlopen -buildvcs=false -trimpath -ldflags=-s -o " + b.bin + "/volbridge ./cmd/volbridge"},
		{"..", "CGO_ENABLED=0", "-buildvcs=false -trimpath -ldflags=-s -o " + b.bin + "/volbridge-hook ./cmd/volbridge-hook"},
		{"..", "", "-o " + b.pack + " ./packaging/pack"},
		{"../tools", "", "-o " + b.nfpm + " github.com/goreleaser/nfpm/v2/cmd/nfpm"},
	} {
		cmd := exec.Command("go", append([]string{"build"}, strings.Fields(c.args)...)...)
		cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env)
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("go build %s: %w: %s", c.args, err, out)
		}
	}
	for _, version := range []string{older, newer} {
		if err := b.make(filepath.Join(b.dir, version), version); err != nil {
			return b, err
		}
	}
	return b, nil
}

// make packs one version into a folder.
func (b built) make(out, version string) error {
	cmd := exec.Command(b.pack, "-root", "..", "-bin", b.bin, "-nfpm", b.nfpm, "-out", out, "-version", version)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1767323045")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pack %s: %w: %s", version, err, text)
	}
	return nil
}

// file is the package of a version, or another file that was made with it.
func (b built) file(t *testing.T, version, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(b.dir, version, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s of %s: %v, %v", pattern, version, found, err)
	}
	return found[0]
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			testenv.Missing(t, p)
		}
	}
}

// output of a program that must succeed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v: %s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew); now it is\n%s", file, got)
	}
}
