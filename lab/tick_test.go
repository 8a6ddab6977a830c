package lab_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab"
)

var update = flag.Bool("update", false, "write tickguest.bin")

func TestBootSectorIsItsSource(t *testing.T) {
	dir := t.TempDir()
	object, binary := dir+"/tickguest.o", dir+"/tickguest.bin"
	for _, args := range [][]string{
		{"as", "--32", "-o", object, "tickguest.S"},
		{"ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", binary, object},
	} {
		if _, err := exec.LookPath(args[0]); err != nil {
			testenv.Missing(t, "binutils")
		}
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	built, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("tickguest.bin", built, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile("tickguest.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(built, kept) || len(kept) != 512 {
		t.Error("tickguest.bin is not what tickguest.S gives: run this test with -update")
	}
}

func TestCheckTicks(t *testing.T) {
	const start = "B00000000\nT00000001\nT00000002\n"
	for _, c := range []struct {
		name, log string
		disk      uint32
		want      string // part of the error, "" for none
	}{
		{"plain", start, 2, ""},
		{"written, not yet printed", start, 3, ""},
		{"cut at the end", start + "T000", 3, ""},
		{"restarted", start + "B00000002\nT00000003\n", 3, ""},
		{"restarted, one not printed", start + "B00000003\nT00000004\n", 4, ""},
		{"restarted within a line", start + "T0000B00000003\nT00000004\n", 4, ""},
		{"hexadecimal", "B00000009\nT0000000A\n", 10, ""},
		{"disk behind", start, 1, "printed 2, but its disk says 1"},
		{"disk ahead", start, 4, "printed 2, but its disk says 4"},
		{"disk behind at boot", start + "B00000001\nT00000002\n", 2, "found 1 on its disk"},
		{"disk ahead at boot", start + "B00000004\nT00000005\n", 5, "found 4 on its disk"},
		{"back", start + "T00000001\n", 2, "went from 2 to 1"},
		{"again", start + "T00000002\n", 2, "went from 2 to 2"},
		{"skipped", start + "T00000004\n", 4, "went from 2 to 4"},
		{"refused", start + "E00000003\n", 2, "refused to write 3"},
		{"cut, and no boot", start + "T0000\nT00000003\n", 3, "no line"},
		{"two guests at once", start + "T000T00000003\n", 3, "no line"},
		{"byte doubled", start + "T000000003\n", 3, "no line"},
		{"never counted", "B00000000\n", 0, "never counted"},
		{"empty", "", 0, "never counted"},
		{"foreign", "hello\n", 0, "no line"},
		{"no boot", "T00000001\n", 1, "unexpected line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := lab.CheckTicks([]byte(c.log), c.disk)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestReadTicksAcceptsEveryCut: a log may be read at any moment.
func TestReadTicksAcceptsEveryCut(t *testing.T) {
	const log = "B00000000\nT00000001\nT00B00000002\nT00000003\n"
	for n := range len(log) + 1 {
		// Cut within the second boot's line the piece before it is no line yet.
		_, err := lab.ReadTicks([]byte(log[:n]))
		if err != nil {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func FuzzReadTicks(f *testing.F) {
	f.Add([]byte("B00000000\nT00000001\nT00B00000002\nT00000003\n"))
	f.Add([]byte("\n\nE"))
	f.Fuzz(func(t *testing.T, log []byte) {
		ticks, err := lab.ReadTicks(log)
		if err == nil && 10*(ticks.Boots+ticks.Count) > len(log) {
			t.Errorf("%d boots and %d counts in %d bytes", ticks.Boots, ticks.Count, len(log))
		}
	})
}

func TestWaitTick(t *testing.T) {
	log := t.TempDir() + "/serial.log"
	type answer struct {
		ticks lab.Ticks
		err   error
	}
	done := make(chan answer)
	go func() {
		ticks, err := lab.WaitTick(t.Context(), log, 3)
		done <- answer{ticks, err}
	}()
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, piece := range []string{"B00000000\nT0000", "0001\n", "T00000002\nT00000003\n"} {
		if _, err := f.WriteString(piece); err != nil {
			t.Fatal(err)
		}
	}
	if a := <-done; a.err != nil || a.ticks.Last != 3 {
		t.Errorf("got %+v", a)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := lab.WaitTick(short, log, 4); err == nil || !strings.Contains(err.Error(), "count on from 3") {
		t.Errorf("without a further count: %v", err)
	}
}

func TestTickImage(t *testing.T) {
	const size = 16 << 20
	hash := func(format string, seed int64, spoil int64) string {
		t.Helper()
		path := fmt.Sprintf("%s/disk.%s", t.TempDir(), format)
		if err := lab.WriteTickImage(t.Context(), path, format, size, seed); err != nil {
			t.Fatal(err)
		}
		if spoil >= 0 {
			spoilAt(t, path, spoil)
		}
		sum, err := lab.HashUntouched(t.Context(), path, format, size)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	same := hash("raw", 7, -1)
	if hash("qcow2", 7, -1) != same {
		t.Error("qcow2 and raw differ")
	}
	if hash("raw", 7, 64*512) != same || hash("raw", 7, 64*512+511) != same {
		t.Error("the guest's sector counts")
	}
	for _, at := range []int64{0, 64*512 - 1, 65 * 512, 9 << 20, size - 1} {
		if hash("raw", 7, at) == same {
			t.Errorf("a change at %d does not count", at)
		}
	}
	if hash("raw", 8, -1) == same {
		t.Error("another seed gives the same bytes")
	}
}

func spoilAt(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestDiskTick(t *testing.T) {
	raw, qcow := t.TempDir()+"/a.raw", t.TempDir()+"/a.qcow2"
	if err := lab.WriteTickImage(t.Context(), raw, "raw", 16<<20, 1); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(raw, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint32(nil, 0x01020304), 64*512); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if out, err := exec.Command("qemu-img", "convert", "-O", "qcow2", raw, qcow).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for path, format := range map[string]string{raw: "raw", qcow: "qcow2"} {
		if got, err := lab.DiskTick(t.Context(), path, format); got != 0x01020304 || err != nil {
			t.Errorf("%s: got %#x, %v", format, got, err)
		}
	}
}
