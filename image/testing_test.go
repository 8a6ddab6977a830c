package image

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
)

const mib = 1 << 20

// qemuImg runs the tool; without it the test is skipped.
func qemuImg(t testing.TB, args ...string) {
	t.Helper()
	program, err := exec.LookPath("qemu-img")
	if err != nil {
		testenv.Missing(t, "qemu-img")
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v: %s", args, err, out)
	}
}

// rawImage makes a sparse raw image with data at its beginning, at its end and
// between, and returns its content.
func rawImage(t testing.TB, path string, sizeBytes int) []byte {
	t.Helper()
	data := make([]byte, sizeBytes)
	for _, part := range [][]byte{data[:min(70_000, sizeBytes)], data[sizeBytes/2 : sizeBytes/2+sizeBytes/8], data[sizeBytes-min(5000, sizeBytes):]} {
		rand.Read(part)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return data
}

// device makes a loop device that goes with the test.
func device(t testing.TB, sizeBytes int64, content byte) (node, file string) {
	t.Helper()
	testenv.NeedRoot(t)
	file = filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(file, bytes.Repeat([]byte{content}, int(sizeBytes)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", file).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s", err, out)
	}
	node = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", node).CombinedOutput(); err != nil {
			t.Errorf("losetup --detach %s: %v: %s", node, err, out)
		}
	})
	return node, file
}

func contents(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func examine(t testing.TB, path string, said Format) Source {
	t.Helper()
	s, err := Examine(t.Context(), System(), path, said)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openTarget(t testing.TB, node string, sizeBytes int64) *Target {
	t.Helper()
	target, err := OpenTarget(t.Context(), node, sizeBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	return target
}
