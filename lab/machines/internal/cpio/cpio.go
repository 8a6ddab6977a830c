// Package cpio writes archives that the kernel unpacks as an initramfs. The
// kernel unpacks several, one after the other, from one file.
package cpio

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// Entry is one file of an archive: Mode says whether it is a directory, a
// symbolic link (whose target is Data), or a regular file.
type Entry struct {
	Mode fs.FileMode
	Data []byte
}

// alignment is what the kernel wants between two archives, and more.
const alignment = 512

// Write writes an archive with these entries, owned by root: path without a
// leading slash → entry. Directories above an entry are added.
func Write(w io.Writer, entries map[string]Entry) error {
	all := withParents(entries)
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	sort.Strings(names) // a directory comes before what is in it
	out := &writer{to: w}
	for i, name := range names {
		out.entry(i+1, name, all[name])
	}
	out.entry(0, "TRAILER!!!", Entry{})
	out.pad(alignment)
	return out.err
}

func withParents(entries map[string]Entry) map[string]Entry {
	all := map[string]Entry{}
	for name, e := range entries {
		name = strings.TrimPrefix(path.Clean(name), "/")
		all[name] = e
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, there := all[dir]; !there {
				all[dir] = Entry{Mode: fs.ModeDir | 0o755}
			}
		}
	}
	return all
}

type writer struct {
	to      io.Writer
	written int64
	err     error
}

// entry writes one entry in the "newc" format.
func (w *writer) entry(inode int, name string, e Entry) {
	w.write([]byte(fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, unixMode(e.Mode), 0, 0, 1, 0, len(e.Data), 0, 0, 0, 0, len(name)+1, 0)))
	w.write([]byte(name + "\x00"))
	w.pad(4)
	w.write(e.Data)
	w.pad(4)
}

func unixMode(mode fs.FileMode) uint32 {
	const directory, regular, link = 0o040000, 0o100000, 0o120000
	perm := uint32(mode.Perm())
	switch {
	case mode.IsDir():
		return directory | perm
	case mode&fs.ModeSymlink != 0:
		return link | 0o777
	}
	return regular | perm
}

func (w *writer) write(data []byte) {
	if w.err != nil {
		return
	}
	n, err := w.to.Write(data)
	w.written += int64(n)
	w.err = err
}

func (w *writer) pad(to int64) {
	if rest := w.written % to; rest != 0 {
		w.write(make([]byte, to-rest))
	}
}
