package blockdev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// linked returns the loop device that the link at c.Path leads to, if it
// carries our mark. Without a link, or with one that leads to nothing, it is
// ErrNotAttached; with one that leads elsewhere ErrWrongDevice.
func (t loop) linked(c Connection) (loopState, error) {
	node, err := readLink(c.Path)
	if err != nil {
		return loopState{}, err
	}
	if node == "" {
		return loopState{}, ErrNotAttached
	}
	s, err := readLoop(node)
	if err != nil {
		return loopState{}, err
	}
	if s.mark() != mark(c) {
		return loopState{}, fmt.Errorf("%w: %s leads to %s, which is %q, wanted %q", ErrWrongDevice, c.Path, node, s.mark(), mark(c))
	}
	return s, nil
}

// ours returns every loop device with the mark of this connection: the one
// that the link leads to, or, when a crash came between binding and linking,
// those that a search finds. There is more than one only after such a crash.
func (t loop) ours(c Connection) ([]loopState, error) {
	s, err := t.linked(c)
	if err == nil {
		return []loopState{s}, nil
	}
	if !errors.Is(err, ErrNotAttached) && !errors.Is(err, ErrWrongDevice) {
		return nil, err
	}
	return t.search(c)
}

// search looks through the loop devices of this machine. Opening a device
// makes us one that others must wait for, so only those are opened whose
// backing file may be the volume's.
func (t loop) search(c Connection) ([]loopState, error) {
	names, err := t.bound()
	if err != nil {
		return nil, err
	}
	var found []loopState
	for _, name := range names {
		node := filepath.Join(t.host.Dev, name)
		if !mayBack(t.backing(node), c.File) {
			continue
		}
		s, err := readLoop(node)
		if errors.Is(err, ErrNotAttached) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if s.mark() == mark(c) {
			found = append(found, s)
		}
	}
	return found, nil
}

// bound lists the loop devices that have a size, as only those do that are
// bound to a file; one look at the kernel's list spares one at each of the
// others.
func (t loop) bound() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(t.host.Proc, "partitions"))
	if err != nil {
		return nil, fmt.Errorf("list the block devices: %w", err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line) // major, minor, blocks, name
		if len(fields) == 4 && isLoop(fields[3]) {
			names = append(names, fields[3])
		}
	}
	return names, nil
}

// isLoop says whether this is the name of a loop device, and not of one of its
// partitions.
func isLoop(name string) bool {
	number, ok := strings.CutPrefix(name, "loop")
	_, err := strconv.ParseUint(number, 10, 32)
	return ok && err == nil
}

// backing returns the path of the file behind a loop device, as the kernel
// shows it to us; empty if the device is not bound.
func (t loop) backing(node string) string {
	text, err := readSmall(filepath.Join(t.host.Sys, "block", filepath.Base(node), "loop", "backing_file"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSpace(string(text)), " (deleted)")
}

// mayBack compares only the file and its folder: the way to them may look
// different from another mount namespace.
func mayBack(backing, file string) bool {
	tail := func(p string) string { return filepath.Join(filepath.Base(filepath.Dir(p)), filepath.Base(p)) }
	return backing != "" && tail(backing) == tail(file)
}

// readSmall reads an attribute of sysfs, which is never longer than a page, in
// three system calls. A search reads one for each loop device of the machine,
// and os.ReadFile takes twice as many.
func readSmall(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	page := make([]byte, 4096)
	n, err := unix.Read(fd, page)
	if err != nil {
		return nil, err
	}
	return page[:n], nil
}
