package cpio

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// list reads an archive as the kernel does: mode, name and data of each entry.
func list(t *testing.T, archive []byte) []string {
	t.Helper()
	const headerBytes = 110
	padded := func(n int) int { return (n + 3) / 4 * 4 }
	var all []string
	for at := 0; ; {
		var magic, inode, mode, uid, gid, links, mtime, size, skip, nameSize int
		if _, err := fmt.Sscanf(string(archive[at:at+headerBytes]), "%6x%8x%8x%8x%8x%8x%8x%8x%32x%8x",
			&magic, &inode, &mode, &uid, &gid, &links, &mtime, &size, &skip, &nameSize); err != nil {
			t.Fatalf("header at %d: %v", at, err)
		}
		name := string(archive[at+headerBytes : at+headerBytes+nameSize-1])
		if magic != 0x070701 || uid != 0 || gid != 0 {
			t.Fatalf("%s: magic %x, owner %d:%d", name, magic, uid, gid)
		}
		at = padded(at + headerBytes + nameSize)
		if name == "TRAILER!!!" {
			return all
		}
		all = append(all, fmt.Sprintf("%o %s %s", mode, name, archive[at:at+size]))
		at = padded(at + size)
	}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, map[string]Entry{
		"/lab/run/a.service": {Mode: 0o640, Data: []byte("unit")},
		"lab/run/wants/a":    {Mode: fs.ModeSymlink, Data: []byte("../a.service")},
		"lab/empty":          {Mode: 0o600},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"40755 lab ", "100600 lab/empty ", "40755 lab/run ", "100640 lab/run/a.service unit",
		"40755 lab/run/wants ", "120777 lab/run/wants/a ../a.service",
	}
	if diff := cmp.Diff(want, list(t, b.Bytes())); diff != "" {
		t.Error(diff)
	}
	if b.Len()%alignment != 0 {
		t.Errorf("%d bytes: the next archive would not be found", b.Len())
	}
}

// TestWriteError fails each write in turn.
func TestWriteError(t *testing.T) {
	entries := map[string]Entry{"a/b": {Mode: 0o644, Data: []byte("data")}}
	var whole bytes.Buffer
	if err := Write(&whole, entries); err != nil {
		t.Fatal(err)
	}
	for room := range whole.Len() {
		if err := Write(&limited{room}, entries); err == nil {
			t.Fatalf("an archive of %d bytes was written into %d", whole.Len(), room)
		}
	}
}

type limited struct{ room int }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.room {
		return l.room, fmt.Errorf("full: %s", strings.Repeat("x", l.room))
	}
	l.room -= len(p)
	return len(p), nil
}
