package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Source is an image that was looked at and can be copied.
type Source struct {
	Path   string // absolute
	Format Format
	// SizeBytes is the size of the disk that is in the image, a multiple of
	// 512.
	SizeBytes int64
	// DataBytes is how much space the file takes: about what has to be read.
	DataBytes int64

	was fingerprint
}

// fingerprint tells whether a file was changed.
type fingerprint struct {
	dev, ino  uint64
	sizeBytes int64
	changed   time.Time
}

// Examine looks at an image without trusting it. said is its format, or empty
// to go by how the file begins. An image that cannot be copied gives
// *RefusedError.
func Examine(ctx context.Context, tool Tool, path string, said Format) (Source, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Source{}, fmt.Errorf("image %s: %w", path, err)
	}
	s, err := examineHeader(path, said)
	if err != nil {
		return s, err
	}
	var sizeBytes int64
	err = both(ctx, func(ctx context.Context) (err error) {
		sizeBytes, err = tool.virtualSize(ctx, s)
		return err
	}, func(ctx context.Context) error { return tool.check(ctx, s) })
	if err != nil {
		return s, err
	}
	if s.SizeBytes = sizeBytes; sizeBytes <= 0 || sizeBytes%sectorBytes != 0 {
		return s, &RefusedError{path, fmt.Sprintf("its disk has %d bytes, which no disk has", sizeBytes)}
	}
	return s, nil
}

const sectorBytes = 512

func examineHeader(path string, said Format) (Source, error) {
	s := Source{Path: path}
	// Not blocking: a pipe has no writer yet.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return s, fmt.Errorf("open image: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return s, fmt.Errorf("open image: %w", err)
	} else if !info.Mode().IsRegular() {
		return s, &RefusedError{path, "it is no regular file; copy a device or a stream into one first"}
	}
	h, err := readHeader(f)
	if err != nil {
		return s, fmt.Errorf("read the header of image %s: %w", path, err)
	}
	if h.sizeBytes == 0 {
		return s, &RefusedError{path, "it is empty"}
	}
	var why string
	s.Format, why = formatOf(h, said)
	if why == "" && said == "" && s.Format == Raw {
		why = doubtRaw(path, h)
	}
	if why != "" {
		return s, &RefusedError{path, why}
	}
	s.was, s.DataBytes, err = fingerprintOf(path)
	return s, err
}

func fingerprintOf(path string) (fingerprint, int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fingerprint{}, 0, fmt.Errorf("image %s: %w", path, err)
	}
	return fingerprint{uint64(st.Dev), st.Ino, st.Size, time.Unix(st.Mtim.Unix())}, st.Blocks * sectorBytes, nil
}

// unchanged says whether the file is still the one that was looked at: one that
// somebody writes meanwhile is copied half old and half new.
func (s Source) unchanged() error {
	now, _, err := fingerprintOf(s.Path)
	if err == nil && now != s.was {
		err = fmt.Errorf("image %s was changed while it was copied: stop what writes it, and repeat", s.Path)
	}
	return err
}

// node is a block node as QEMU's json: file names describe it. Everything is
// said, so that nothing is guessed and no other file is opened.
type node map[string]any

func (n node) name() string {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return "json:" + string(text)
}

// disk is the image as a disk.
func (s Source) disk() node {
	n := node{"driver": string(s.Format), "file": node{"driver": "file", "filename": s.Path}}
	if s.Format == QCOW2 || s.Format == VMDK {
		n["backing"] = nil
	}
	return n
}

// window is a part of a disk.
func window(of node, r span) node {
	n := node{"driver": string(Raw), "offset": r.from, "size": r.size()}
	if of["driver"] == string(Raw) {
		n["file"] = of["file"]
		return n
	}
	n["file"] = of
	return n
}

// span is a part of a disk, from its first byte to the one after its last.
type span struct{ from, to int64 }

func (r span) size() int64 { return r.to - r.from }

// imageInfo is what is used of `qemu-img info --output json`.
type imageInfo struct {
	VirtualSize int64  `json:"virtual-size"`
	Backing     string `json:"backing-filename"`
	Encrypted   bool   `json:"encrypted"`
	Specific    struct {
		Data struct {
			Corrupt  bool            `json:"corrupt"`
			DataFile string          `json:"data-file"`
			Encrypt  json.RawMessage `json:"encrypt"`
		} `json:"data"`
	} `json:"format-specific"`
}

// virtualSize asks qemu-img, and sees whether it noticed what the header did
// not tell us.
func (t Tool) virtualSize(ctx context.Context, s Source) (int64, error) {
	out, err := t.inspect(ctx, "info", "--output", "json", s.disk().name())
	var failed *ToolError
	if errors.As(err, &failed) && failed.Code == infoFailed {
		return 0, &RefusedError{s.Path, fmt.Sprintf("qemu-img cannot read it as %s: %s", s.Format, firstLine(failed.Said))}
	}
	if err != nil {
		return 0, fmt.Errorf("image %s (%s): %w", s.Path, s.Format, err)
	}
	var i imageInfo
	if err := json.Unmarshal(out, &i); err != nil {
		return 0, fmt.Errorf("image %s: understand what qemu-img says: %w", s.Path, err)
	}
	switch d := i.Specific.Data; {
	case i.Backing != "", d.DataFile != "":
		return 0, &RefusedError{s.Path, "it needs another file; make it whole: qemu-img convert -O qcow2 FILE NEW.qcow2"}
	case i.Encrypted, len(d.Encrypt) > 0:
		return 0, &RefusedError{s.Path, "it is encrypted; decrypt it first, with qemu-img convert"}
	case d.Corrupt:
		return 0, &RefusedError{s.Path, "it is marked as corrupt; repair it: qemu-img check -r all FILE"}
	}
	return i.VirtualSize, nil
}

// check has qemu-img look for what is missing: it reads what lies behind the
// end of a file that was cut off as zeroes, and would copy that.
func (t Tool) check(ctx context.Context, s Source) error {
	if s.Format == Raw || s.Format == VDI {
		return nil // raw has nothing to check, and for VDI qemu-img does not
	}
	_, err := t.inspect(ctx, "check", "--output", "json", s.disk().name())
	var failed *ToolError
	if !errors.As(err, &failed) {
		return err
	}
	switch failed.Code {
	case checkLeaks:
		return nil
	case checkCorrupt, checkFailed:
		return &RefusedError{s.Path, "it is damaged or cut off: " + firstLine(failed.Said)}
	}
	return fmt.Errorf("check image %s: %w", s.Path, err)
}

// Exit codes of `qemu-img info` and `qemu-img check`; see its manual. A leak is
// space that nobody uses.
const (
	infoFailed   = 1
	checkFailed  = 1
	checkCorrupt = 2
	checkLeaks   = 3
)
