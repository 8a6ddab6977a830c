package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The files below the folder.
const (
	fileName = "metrics.spool"
	// dropName has a byte for each sample that was dropped.
	dropName = "metrics.dropped"
)

// maxBytes of samples wait at most, some 30,000; then they are dropped, and
// counted up to the same number.
const maxBytes = 1 << 20

// Spool is the samples of one host.
type Spool struct {
	// Dir is one that does not survive a boot: config.RunDir.
	Dir string
}

// Add leaves a sample. It returns nothing, for whoever measures has more
// important work than the measurement: what cannot be written is lost, and what
// has no room is counted.
func (s Spool) Add(sample Sample) {
	line := sample.Line()
	if _, err := Parse(strings.TrimSuffix(line, "\n")); err != nil {
		line = "? " + line // counted as unreadable
	}
	if full, err := s.append(fileName, line); err == nil && full {
		_, _ = s.append(dropName, ".")
	}
}

// append writes once, at the end, where two processes do not mix their lines.
func (s Spool) append(name, text string) (full bool, err error) {
	path := filepath.Join(s.Dir, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(s.Dir, 0o700); err != nil {
			return false, err
		}
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size()+int64(len(text)) > maxBytes {
		return true, nil
	}
	_, err = f.WriteString(text)
	return false, err
}

// Batch is what was set aside to be added up, once.
type Batch struct {
	// Number of the batch: each has a higher one than those before.
	Number  uint64
	Samples []Sample
	// Unreadable lines, and samples that were Dropped for want of room.
	Unreadable, Dropped uint64
}

// Take sets aside what is there and reads it, with what an earlier Take set aside
// that nobody has Forgotten. after is the number of the last batch that was added
// up: those up to it are thrown away, because they count already. Only one process
// may take at a time. A sample that is being written at this very moment may be
// lost.
func (s Spool) Take(after uint64) (list []Batch, err error) {
	numbers, err := s.numbers()
	if err != nil {
		return nil, err
	}
	last, waiting := after, []uint64(nil)
	for _, n := range numbers {
		if n <= after {
			if err := s.Forget(n); err != nil {
				return nil, err
			}
			continue
		}
		last, waiting = n, append(waiting, n)
	}
	for _, name := range []string{fileName, dropName} {
		path := filepath.Join(s.Dir, name)
		if err := os.Rename(path, numbered(path, last+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("set samples aside: %w", err)
		}
	}
	for _, n := range append(waiting, last+1) {
		b, err := s.read(n)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

// Forget removes a batch that was added up.
func (s Spool) Forget(number uint64) error {
	for _, name := range []string{fileName, dropName} {
		if err := os.Remove(numbered(filepath.Join(s.Dir, name), number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove samples: %w", err)
		}
	}
	return nil
}

func numbered(path string, n uint64) string { return path + "." + strconv.FormatUint(n, 10) }

// numbers of the batches that were set aside, in order.
func (s Spool) numbers() (list []uint64, err error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for samples: %w", err)
	}
	for _, e := range entries {
		for _, name := range []string{fileName, dropName} {
			text, is := strings.CutPrefix(e.Name(), name+".")
			if n, err := strconv.ParseUint(text, 10, 63); is && err == nil && n > 0 {
				list = append(list, n)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func (s Spool) read(n uint64) (Batch, error) {
	b := Batch{Number: n}
	text, err := readUpTo(numbered(filepath.Join(s.Dir, fileName), n))
	if err != nil {
		return b, err
	}
	dropped, err := readUpTo(numbered(filepath.Join(s.Dir, dropName), n))
	if err != nil {
		return b, err
	}
	b.Dropped = uint64(len(dropped))
	b.Samples, b.Unreadable = parseAll(text)
	return b, nil
}

func parseAll(text string) (list []Sample, unreadable uint64) {
	for line := range strings.Lines(text) {
		sample, err := Parse(strings.TrimSuffix(line, "\n"))
		if err != nil {
			unreadable++
			continue
		}
		list = append(list, sample)
	}
	return list, unreadable
}

// readUpTo reads a file that may be missing. It is not longer than Add makes it,
// but for lines of several processes at once.
func readUpTo(path string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read samples: %w", err)
	case !info.Mode().IsRegular() || info.Size() > 2*maxBytes:
		return "", fmt.Errorf("read samples: %s is none of volbridge: remove it", path)
	}
	text, err := os.ReadFile(path)
	return string(text), err
}
