package image

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func put(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// made has qemu-img make an image; its last argument is the file's name.
func made(t testing.TB, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), args[len(args)-1])
	args[len(args)-1] = path
	qemuImg(t, args...)
	return path
}

func changed(t testing.TB, path string, at int, with []byte) string {
	t.Helper()
	data := contents(t, path)
	copy(data[at:], with)
	return put(t, filepath.Base(path), data)
}

// cut leaves a part of an image.
func cut(t testing.TB, path string, less int64) string {
	t.Helper()
	st, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, st.Size()-less)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// full makes an image of random data in a format.
func full(t testing.TB, format string) string {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	data := rawImage(t, raw, 8*mib)
	for i := range data {
		data[i] |= 1
	}
	if err := os.WriteFile(raw, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return made(t, "convert", "-f", "raw", "-O", format, raw, "full."+format)
}

// sharing a secret file through the header of an image, and all other ways to
// have another file read.
func TestRefused(t *testing.T) {
	secret := put(t, "secret", []byte(strings.Repeat("root:secret:", 100_000)))
	backed := made(t, "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", "backed.qcow2")
	plain := made(t, "create", "-q", "-f", "qcow2", "-o", "size=8M", "plain.qcow2")
	for _, c := range []struct {
		name, path string
		said       Format
		wants      string
	}{
		{"a backing file", backed, "", "backing file"},
		{"a backing file, format stated", backed, QCOW2, "backing file"},
		{"an external data file", made(t, "create", "-q", "-f", "qcow2", "-o", "data_file="+filepath.Join(t.TempDir(), "data")+",size=8M", "ext.qcow2"), "", "another file"},
		{"a LUKS qcow2", changed(t, plain, 32, []byte{0, 0, 0, 2}), "", "encrypted"},
		{"an AES qcow2", changed(t, plain, 32, []byte{0, 0, 0, 1}), "", "encrypted"},
		{"LUKS", put(t, "x", []byte("LUKS\xba\xbe\x00\x01"+strings.Repeat("\x00", 2000))), "", "LUKS"},
		{"qcow2 of version 1", changed(t, plain, 4, []byte{0, 0, 0, 1}), "", "version 1"},
		{"a qcow2 header alone", put(t, "x", contents(t, plain)[:60]), "", "cut off"},
		{"a qcow2 without tables", put(t, "x", contents(t, plain)[:600]), "", "refused"},
		{"a huge L1 table", changed(t, plain, 36, []byte{0x7f, 0xff, 0xff, 0xff}), "", "refused"},
		{"a corrupt bit", changed(t, plain, 72, be64(2)), "", "refused"},
		{"unknown features", changed(t, plain, 72, be64(1<<60)), "", "refused"},
		{"a truncated qcow2", cut(t, full(t, "qcow2"), mib), "", "cut off"},
		{"a truncated vmdk", cut(t, full(t, "vmdk"), mib), "", "cut off"},
		{"a truncated vhdx", cut(t, full(t, "vhdx"), mib), "", "truncated"},
		{"a truncated vdi", cut(t, full(t, "vdi"), 512), "", "cut off"},
		{"a VMDK descriptor", put(t, "x.vmdk", []byte("# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 16384 FLAT \""+secret+"\" 0\n")), "", "names other files"},
		{"a VMDK descriptor, format stated", put(t, "x.vmdk", []byte("# something\n# Disk DescriptorFile\nversion=1\nRW 16384 FLAT \""+secret+"\" 0\n")), VMDK, "does not begin like one"},
		{"a VMDK with a descriptor in it", changed(t, full(t, "vmdk"), 12, le64(0)), "", "descriptor instead of data"},
		{"a VMDK with a parent", changed(t, full(t, "vmdk"), 512, []byte("# Disk DescriptorFile\nparentCID=12345678\nparentFileNameHint=\""+secret+"\"\n")), "", "parent"},
		{"an extent of a VMDK", put(t, "x.vmdk", []byte("COWD"+strings.Repeat("\x00", 2000))), "", "several files"},
		{"a VHD", made(t, "create", "-q", "-f", "vpc", "-o", "size=8M", "x.vhd"), "", "VHD"},
		{"a fixed VHD", made(t, "create", "-q", "-f", "vpc", "-o", "subformat=fixed", "-o", "size=8M", "x.vhd"), "", "fixed VHD"},
		{"QED", made(t, "create", "-q", "-f", "qed", "-o", "size=8M", "x.qed"), "", "QED"},
		{"gzip", put(t, "x.gz", []byte("\x1f\x8b\x08\x00data")), "", "gunzip"},
		{"xz", put(t, "x.xz", []byte("\xfd7zXZ\x00data")), "", "unxz"},
		{"zstd", put(t, "x.zst", []byte("\x28\xb5\x2f\xfddata")), "", "unzstd"},
		{"an OVA", put(t, "x.ova", []byte(strings.Repeat("\x00", 257)+"ustar\x0000"+strings.Repeat("\x00", 1000))), "", "tar archive"},
		{"empty", put(t, "x", nil), "", "it is empty"},
		{"a page of a download site", put(t, "debian.qcow2", []byte("<!DOCTYPE html>"+strings.Repeat(" ", 497))), "", "does not begin like a qcow2"},
		{"a name in capitals", put(t, "OLD.VMDK", make([]byte, mib)), "", "does not begin like a vmdk"},
		{"zeroes called vhdx", put(t, "x.vhdx", make([]byte, mib)), "", "--format raw"},
		{"zeroes called vdi", put(t, "x.vdi", make([]byte, mib)), "", "--format raw"},
		{"no whole sectors", put(t, "notes.txt", []byte("buy milk\n")), "", "no whole sectors"},
		{"a folder", t.TempDir(), "", "no regular file"},
		{"another format than stated", plain, VDI, "looks like a qcow2"},
		{"raw where qcow2 was stated", secret, QCOW2, "does not begin like one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Examine(t.Context(), System(), c.path, c.said)
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.wants) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("err = %v, want a refusal with %q", err, c.wants)
			}
		})
	}
}

// What is stated to be raw is copied byte by byte, whatever it looks like.
func TestStatedRaw(t *testing.T) {
	path := made(t, "create", "-q", "-f", "qcow2", "-o", "size=8M", "x.qcow2")
	if s := examine(t, path, Raw); s.Format != Raw || s.SizeBytes != int64(len(contents(t, path))+511)/512*512 {
		t.Errorf("source %+v", s)
	}
}

// A raw file whose size no disk has is filled up with zeroes, where somebody
// says that it is one.
func TestOddRaw(t *testing.T) {
	if s := examine(t, put(t, "x", make([]byte, 1000)), Raw); s.Format != Raw || s.SizeBytes != 1024 {
		t.Errorf("source %+v", s)
	}
}

func TestNoImage(t *testing.T) {
	if _, err := Examine(t.Context(), System(), "/nowhere/x", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	// Opening a pipe must not wait for who writes into it.
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if _, err := Examine(t.Context(), System(), pipe, ""); !errors.As(err, &refused) {
		t.Errorf("a pipe: %v", err)
	}
}

// An image that was made to cost memory or time does not get it.
func TestLimits(t *testing.T) {
	path := put(t, "x", make([]byte, mib))
	for name, script := range map[string]string{
		"memory": "exec python3 -c 'b = bytearray(5 << 30)'",
		"time":   "ulimit -t | grep -qx 30 && { echo limited >&2; exit 9; }",
		"dump":   "ulimit -c | grep -qx 0 && { echo limited >&2; exit 9; }",
	} {
		if _, err := Examine(t.Context(), stub(t, "'info '*", script), path, ""); err == nil {
			t.Errorf("%s is not limited", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Examine(ctx, System(), path, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := Examine(t.Context(), Tool{QEMUImg: "no-such-tool", Prlimit: "prlimit"}, path, ""); err == nil || !strings.Contains(err.Error(), "install qemu-utils") {
		t.Errorf("without qemu-img: %v", err)
	}
}

// FuzzFormatOf: no header makes it panic, and what is let through needs no other
// file by what its header says.
func FuzzFormatOf(f *testing.F) {
	for _, s := range signatures {
		f.Add(append(make([]byte, s.at), s.magic...), "")
	}
	f.Add([]byte("KDMV"+strings.Repeat("\x01", 600)+"parentFileNameHint"), "vmdk")
	f.Fuzz(func(t *testing.T, head []byte, said string) {
		format, err := ParseFormat(said)
		if err != nil {
			return
		}
		h := header{head: head[:min(len(head), headBytes)], sizeBytes: int64(len(head))}
		h.tail = h.head[max(0, len(h.head)-512):]
		got, why := formatOf(h, format)
		if why == "" && got == "" || format != "" && why == "" && got != format {
			t.Errorf("%q stated: %q, %q", said, got, why)
		}
		if why == "" && got == QCOW2 && binary.BigEndian.Uint64(h.head[8:]) != 0 {
			t.Error("a backing file got through")
		}
	})
}
