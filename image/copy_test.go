package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/volbridge/volbridge/internal/testenv"
)

// forms are images of one disk in every form that can be copied.
var forms = map[string][]string{
	"raw":                  {"-O", "raw"},
	"qcow2":                {"-O", "qcow2"},
	"qcow2 of version 2":   {"-O", "qcow2", "-o", "compat=0.10"},
	"compressed qcow2":     {"-c", "-O", "qcow2"},
	"zstd qcow2":           {"-c", "-O", "qcow2", "-o", "compression_type=zstd"},
	"small cluster qcow2":  {"-O", "qcow2", "-o", "cluster_size=512"},
	"vmdk":                 {"-O", "vmdk"},
	"streamOptimized vmdk": {"-O", "vmdk", "-o", "subformat=streamOptimized"},
	"vhdx":                 {"-O", "vhdx"},
	"fixed vhdx":           {"-O", "vhdx", "-o", "subformat=fixed"},
	"vdi":                  {"-O", "vdi"},
	"static vdi":           {"-O", "vdi", "-o", "static=on"},
}

func TestCopyOfEveryForm(t *testing.T) {
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw")
	want := rawImage(t, raw, 9*mib)
	node, file := device(t, 16*mib, 0xee)
	for name, args := range forms {
		for _, zeroed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/zeroed=%v", name, zeroed), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), `an "odd", name: é`)
				qemuImg(t, append(append([]string{"convert", "-f", "raw"}, args...), raw, "./"+relative(t, path))...)
				fill := byte(0xee)
				if zeroed {
					fill = 0
				}
				overwrite(t, node, 16*mib, fill)
				s := examine(t, path, "")
				if s.SizeBytes != 9*mib || string(s.Format) != args[len(args)-1] && !bytes.Contains([]byte(name), []byte(s.Format)) {
					t.Errorf("source %+v", s)
				}
				target := openTarget(t, node, 16*mib)
				last := Progress{}
				o := Options{Zeroed: zeroed, Compare: true, Watch: func(p Progress) { last = p }}
				if err := Copy(t.Context(), System(), s, target, o); err != nil {
					t.Fatal(err)
				}
				if err := target.Close(); err != nil {
					t.Fatal(err)
				}
				if got := contents(t, file); !bytes.Equal(got, append(bytes.Clone(want), make([]byte, 7*mib)...)) {
					t.Errorf("the device differs from the image, first at byte %d", firstDifference(got, want))
				}
				if last != (Progress{Comparing: true, DoneBytes: 9 * mib, AllBytes: 9 * mib}) {
					t.Errorf("last progress %+v", last)
				}
			})
		}
	}
}

// relative is the path from here: qemu-img reads "x:" before a slash as a
// protocol.
func relative(t *testing.T, path string) string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

func overwrite(t *testing.T, node string, sizeBytes int, with byte) {
	t.Helper()
	if err := os.WriteFile(node, bytes.Repeat([]byte{with}, sizeBytes), 0); err != nil {
		t.Fatal(err)
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestSplit: the parts cover the image once, the edges hold at least a MiB where
// there is so much, and every part begins where a device has a block.
func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		imageBytes := rapid.Int64Range(1, 1<<33).Draw(t, "sectors") * sectorBytes
		deviceBytes := imageBytes + rapid.Int64Range(0, 1<<20).Draw(t, "more")*sectorBytes
		p := split(imageBytes, deviceBytes)
		if p.head.from != 0 || p.head.to != p.body.from || p.body.to != p.tail.from || p.tail.to != imageBytes {
			t.Fatalf("the parts do not cover the image: %+v", p)
		}
		if p.head.size() < min(edgeBytes, imageBytes) || p.body.size() > 0 && p.tail.size() < edgeBytes || p.tail.size() > 2*edgeBytes {
			t.Fatalf("edges: %+v", p)
		}
		if p.body.from%padBytes != 0 && p.body.size() > 0 || p.tail.from%padBytes != 0 && p.tail.size() > 0 {
			t.Fatalf("unaligned: %+v", p)
		}
		if end := imageBytes + p.padding; end > deviceBytes || end%padBytes != 0 && end != deviceBytes {
			t.Fatalf("padding: %+v", p)
		}
	})
}

func TestSmallImages(t *testing.T) {
	for _, size := range []int{512, 4096, 4608, mib - 512, mib, mib + 512, 2*mib - 512, 2 * mib, 2*mib + 512, 3*mib + 1536} {
		node, file := device(t, 4*mib, 0xee)
		path := filepath.Join(t.TempDir(), "image")
		want := rawImage(t, path, size)
		target := openTarget(t, node, 4*mib)
		if err := Copy(t.Context(), System(), examine(t, path, Raw), target, Options{Compare: true}); err != nil {
			t.Errorf("%d bytes: %v", size, err)
			continue
		}
		target.Close()
		if got := contents(t, file); !bytes.Equal(got, append(want, make([]byte, 4*mib-size)...)) {
			t.Errorf("%d bytes: differs at byte %d", size, firstDifference(got, want))
		}
	}
}

// looksLikeNothing fails if the edges of the device, where the image was to be,
// are not zeroes.
func looksLikeNothing(t *testing.T, file string, imageBytes int) {
	t.Helper()
	data := contents(t, file)
	for _, r := range [][2]int{{0, mib}, {imageBytes - mib, len(data)}} {
		if !bytes.Equal(data[r[0]:r[1]], make([]byte, r[1]-r[0])) {
			t.Errorf("bytes %d to %d are not zeroes", r[0], r[1])
		}
	}
}

// The calls of qemu-img that a copy makes, as patterns of the shell. The first
// two run side by side.
const (
	edgesCall   = "'convert -n '*"
	bodyCall    = "'convert -p '*"
	compareCall = "'compare '*"
)

// stub is a qemu-img that does something else where its arguments match.
func stub(t *testing.T, pattern, script string) Tool {
	t.Helper()
	real, err := exec.LookPath("qemu-img")
	if err != nil {
		testenv.Missing(t, "qemu-img")
	}
	dir := t.TempDir()
	text := fmt.Sprintf(`#!/bin/sh
case "$*" in %s)
	%s ;;
esac
exec %s "$@"
`, pattern, script, real)
	path := filepath.Join(dir, "qemu-img")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return Tool{QEMUImg: path, Prlimit: "prlimit"}
}

// TestFailedCopyLooksLikeNothing: wherever it fails, nothing would take the
// device for a disk.
func TestFailedCopyLooksLikeNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	rawImage(t, path, 9*mib)
	half := `"` + "$(command -v qemu-img)" + `"` // the real one
	for name, c := range map[string]struct {
		tool  Tool
		wants string
	}{
		"the edges cannot be read": {stub(t, edgesCall, "echo no edges >&2; exit 1"), "no edges"},
		"the body fails":           {stub(t, bodyCall, "echo I/O error >&2; exit 1"), "I/O error"},
		"the body fails at its end": {
			stub(t, bodyCall, half+` "$@"; echo late >&2; exit 1`), "late"},
		"it is killed":         {stub(t, bodyCall, half+` "$@"; kill -9 $$`), "killed"},
		"it differs":           {stub(t, compareCall, "exit 1"), "does not hold what was written"},
		"it is not compared":   {stub(t, compareCall, "echo unreadable >&2; exit 2"), "unreadable"},
		"the image is changed": {stub(t, bodyCall, "touch "+path), "was changed while it was copied"},
	} {
		t.Run(name, func(t *testing.T) {
			node, file := device(t, 12*mib, 0xee)
			target := openTarget(t, node, 12*mib)
			err := Copy(t.Context(), c.tool, examine(t, path, ""), target, Options{Compare: true})
			if err == nil || !bytes.Contains([]byte(err.Error()), []byte(c.wants)) {
				t.Errorf("err = %v, want one with %q", err, c.wants)
			}
			target.Close()
			looksLikeNothing(t, file, 9*mib)
		})
	}
}

// A copy that is interrupted ends at once, and so does what it started.
func TestInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	rawImage(t, path, 9*mib)
	pid := filepath.Join(t.TempDir(), "pid")
	if err := unix.Mkfifo(pid, 0o600); err != nil {
		t.Fatal(err)
	}
	tool := stub(t, bodyCall, "echo $$ >"+pid+"; exec sleep 1000")
	node, file := device(t, 12*mib, 0xee)
	target := openTarget(t, node, 12*mib)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	go func() {
		_ = contents(t, pid) // once it is there
		cancel(enough)
	}()
	if err := Copy(ctx, tool, examine(t, path, ""), target, Options{}); !errors.Is(err, enough) {
		t.Errorf("err = %v", err)
	}
	target.Close()
	looksLikeNothing(t, file, 9*mib)
}

func TestTarget(t *testing.T) {
	node, _ := device(t, 4*mib, 0)
	if _, err := OpenTarget(t.Context(), node, 5*mib); err == nil {
		t.Error("a device of another size was opened")
	}
	first := openTarget(t, node, 4*mib)
	if _, err := OpenTarget(t.Context(), node, 4*mib); !errors.Is(err, ErrTargetInUse) {
		t.Errorf("opened twice: %v", err)
	}
	first.Close()
	// Somebody looks into it and does not end.
	f, err := os.Open(node)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenTarget(ctx, node, 4*mib); !errors.Is(err, context.Canceled) {
		t.Errorf("locked by another: %v", err)
	}
}

func TestEmpty(t *testing.T) {
	for _, size := range []int64{512, mib, 3 * mib, 64 * mib, 200 * mib} {
		node, _ := device(t, size, 0)
		f, err := os.OpenFile(node, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		target := &Target{f: f, sizeBytes: size}
		if empty, at, err := target.Empty(t.Context()); err != nil || !empty {
			t.Errorf("%d zeroes: %v, %d, %v", size, empty, at, err)
		}
		places := []int64{0, size - 1, min(size, mib) - 1, max(0, size-mib)}
		if size <= 64*mib {
			places = append(places, size/2, size/3)
		}
		for _, at := range places {
			for _, b := range []byte{1, 0xff} {
				if _, err := f.WriteAt([]byte{b}, at); err != nil {
					t.Fatal(err)
				}
				if empty, seen, err := target.Empty(t.Context()); err != nil || empty || seen != at {
					t.Errorf("%d bytes with %#x at %d: %v, %d, %v", size, b, at, empty, seen, err)
				}
			}
			if _, err := f.WriteAt([]byte{0}, at); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
}

func FuzzPercentages(f *testing.F) {
	f.Add([]byte("    (0.00/100%)\r    (12.34/100%)\r    (100.00/100%)\n"))
	f.Add([]byte("(/100%)\r(x/100%)\r(101/100%)\r"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var whole, parts []float64
		one := &percentages{tell: func(v float64) { whole = append(whole, v) }}
		many := &percentages{tell: func(v float64) { parts = append(parts, v) }}
		one.Write(text)
		for i := range text {
			many.Write(text[i : i+1])
		}
		for _, v := range whole {
			if !(v >= 0 && v <= 100) {
				t.Errorf("%v percent", v)
			}
		}
		if len(text) < saidBytes && fmt.Sprint(whole) != fmt.Sprint(parts) {
			t.Errorf("in one piece %v, in many %v", whole, parts)
		}
	})
}
