package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Format is the format of an image, as qemu-img names it.
type Format string

// The formats that can be copied.
const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
	VMDK  Format = "vmdk"
	VHDX  Format = "vhdx"
	VDI   Format = "vdi"
)

// Formats in the order in which they are listed to people.
var Formats = []Format{Raw, QCOW2, VMDK, VHDX, VDI}

// ParseFormat reads what a person wrote; empty is "look at the file".
func ParseFormat(text string) (Format, error) {
	if text == "" {
		return "", nil
	}
	var names []string
	for _, f := range Formats {
		if strings.EqualFold(text, string(f)) {
			return f, nil
		}
		names = append(names, string(f))
	}
	return "", fmt.Errorf("format %q: it can be %s", text, strings.Join(names, ", "))
}

// headBytes is how much of the beginning is looked at: the headers of all
// formats, and the embedded descriptor of a VMDK.
const headBytes = 64 << 10

// signature is how a kind of file begins.
type signature struct {
	at     int
	magic  string
	format Format // what it is, empty for one that cannot be copied
	what   string // its name for people, and what to do about it
}

var signatures = []signature{
	{0, "QFI\xfb", QCOW2, "a qcow2 image"},
	{0, "KDMV", VMDK, "a VMDK image"},
	{0, "vhdxfile", VHDX, "a VHDX image"},
	{0x40, "\x7f\x10\xda\xbe", VDI, "a VDI image"},

	{0, "COWD", "", "one extent of a VMDK of several files; convert the whole: qemu-img convert -O qcow2 DESCRIPTOR.vmdk NEW.qcow2"},
	{0, "# Disk DescriptorFile", "", "a VMDK descriptor, which names other files; convert it: qemu-img convert -O qcow2 DESCRIPTOR.vmdk NEW.qcow2"},
	{0, "LUKS\xba\xbe", "", "an encrypted (LUKS) image; decrypt it first, with qemu-img convert or cryptsetup"},
	{0, "conectix", "", "a VHD image; convert it: qemu-img convert -f vpc -O qcow2 FILE NEW.qcow2"},
	{0, "QED\x00", "", "a QED image; convert it: qemu-img convert -f qed -O qcow2 FILE NEW.qcow2"},
	{0, "WithoutFreeSpace", "", "a Parallels image; convert it: qemu-img convert -f parallels -O qcow2 FILE NEW.qcow2"},
	{0, "WithouFreSpacExt", "", "a Parallels image; convert it: qemu-img convert -f parallels -O qcow2 FILE NEW.qcow2"},
	{0, "\x1f\x8b", "", "compressed by gzip; unpack it first: gunzip FILE"},
	{0, "\xfd7zXZ\x00", "", "compressed by xz; unpack it first: unxz FILE"},
	{0, "\x28\xb5\x2f\xfd", "", "compressed by zstd; unpack it first: unzstd FILE"},
	{0, "BZh", "", "compressed by bzip2; unpack it first: bunzip2 FILE"},
	{0, "\x04\x22\x4d\x18", "", "compressed by lz4; unpack it first: unlz4 FILE"},
	{0, "PK\x03\x04", "", "a zip archive; unpack it first"},
	{0, "7z\xbc\xaf\x27\x1c", "", "a 7z archive; unpack it first"},
	{257, "ustar", "", "a tar archive, such as an OVA; unpack it first and name the disk in it"},
}

// RefusedError is an image that is not copied, and why. Nothing was changed.
type RefusedError struct {
	Path string
	Why  string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("image %s is refused: %s", e.Path, e.Why) }

// header is what this package itself reads of a file.
type header struct {
	head      []byte // its beginning, headBytes or all of it
	tail      []byte // its last sector
	sizeBytes int64
}

func readHeader(f *os.File) (header, error) {
	info, err := f.Stat()
	if err != nil {
		return header{}, err
	}
	h := header{head: make([]byte, headBytes), tail: make([]byte, 512), sizeBytes: info.Size()}
	n, err := f.ReadAt(h.head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return header{}, err
	}
	h.head = h.head[:n]
	n, err = f.ReadAt(h.tail, max(0, h.sizeBytes-512))
	h.tail = h.tail[:n]
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return h, err
}

// kind finds out how the file begins; nil is what no signature knows.
func (h header) kind() *signature {
	for i, s := range signatures {
		if len(h.head) >= s.at && bytes.HasPrefix(h.head[s.at:], []byte(s.magic)) {
			return &signatures[i]
		}
	}
	if bytes.HasPrefix(h.tail, []byte("conectix")) {
		return &signature{what: "a fixed VHD image, with its footer at the end; convert it: qemu-img convert -f vpc -O raw FILE NEW.raw"}
	}
	return nil
}

// formatOf decides the format of a file; said is what the user stated, or
// empty. The reason of a refusal is for people.
func formatOf(h header, said Format) (Format, string) {
	k := h.kind()
	switch {
	case said == Raw:
		return Raw, "" // every byte as it is, whatever it looks like
	case said != "" && k == nil:
		return "", fmt.Sprintf("it was said to be %s, but does not begin like one", said)
	case said != "" && k.format != said:
		return "", fmt.Sprintf("it was said to be %s, but looks like %s", said, k.what)
	case k == nil:
		return Raw, ""
	case k.format == "":
		return "", "it is " + k.what + "; or copy every byte as it is, with --format raw"
	}
	return k.format, k.format.unsafe(h)
}

// doubtRaw says why a file whose beginning no signature knows should not be
// taken for a raw image before somebody says so: most files are no disks. Empty
// if there is no doubt.
func doubtRaw(path string, h header) string {
	const say = "; if it is raw nevertheless, say --format raw"
	if f, err := ParseFormat(strings.TrimPrefix(filepath.Ext(path), ".")); err == nil && f != "" && f != Raw {
		return fmt.Sprintf("it does not begin like a %s, as its name says%s", f, say)
	}
	if h.sizeBytes%sectorBytes != 0 {
		return fmt.Sprintf("it begins like no format that is known, and its %d bytes are no whole sectors of %d, as every disk has them%s",
			h.sizeBytes, sectorBytes, say)
	}
	return ""
}

// unsafe says why an image cannot be copied by what its header says; empty if
// it can.
func (f Format) unsafe(h header) string {
	switch f {
	case QCOW2:
		return unsafeQCOW2(h)
	case VMDK:
		return unsafeVMDK(h)
	case VDI:
		return unsafeVDI(h)
	}
	return ""
}

const tooShort = "its header is cut off"

// unsafeQCOW2 reads the header that docs/interop/qcow2.txt of QEMU describes,
// all big-endian.
func unsafeQCOW2(h header) string {
	if len(h.head) < 72 {
		return tooShort
	}
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(h.head[at:]) }
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(h.head[at:]) }
	version := u32(4)
	switch {
	case version != 2 && version != 3:
		return fmt.Sprintf("it is of qcow version %d; convert it: qemu-img convert -O qcow2 FILE NEW.qcow2", version)
	case u64(8) != 0:
		return "it needs a backing file, and holds only what differs from it; make it whole: qemu-img convert -O qcow2 FILE NEW.qcow2"
	case u32(32) != 0:
		return "it is encrypted; decrypt it first, with qemu-img convert"
	case version == 2:
		return ""
	case len(h.head) < 104:
		return tooShort
	case u64(72)&(1<<2) != 0: // incompatible feature: external data file
		return "its data is in another file; make it whole: qemu-img convert -O qcow2 FILE NEW.qcow2"
	}
	return ""
}

// unsafeVMDK reads the header of a sparse extent, little-endian, as the "Virtual
// Disk Format 5.0" note of VMware describes it. QEMU takes an extent without a
// capacity for a descriptor, which names other files; and it looks for the
// parent in the embedded descriptor at sector 1, whatever the header says of
// its place.
func unsafeVMDK(h header) string {
	if len(h.head) < 512 {
		return tooShort
	}
	if binary.LittleEndian.Uint64(h.head[12:]) == 0 {
		return "it holds a descriptor instead of data; convert it: qemu-img convert -O qcow2 FILE NEW.qcow2"
	}
	if bytes.Contains(h.head[512:], []byte("parentFileNameHint")) {
		return "it needs a parent image, and holds only what differs from it; make it whole: qemu-img convert -O qcow2 FILE NEW.qcow2"
	}
	return ""
}

// unsafeVDI looks whether all blocks are in the file, because qemu-img reads
// what lies behind its end as zeroes and does not check this format. The
// fields are those of QEMU's block/vdi.c, little-endian.
func unsafeVDI(h header) string {
	if len(h.head) < 512 {
		return tooShort
	}
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(h.head[at:])) }
	if end := u32(0x158) + u32(0x184)*u32(0x178); end > h.sizeBytes {
		return fmt.Sprintf("it is cut off: it should have %d bytes at least, and has %d", end, h.sizeBytes)
	}
	return ""
}
