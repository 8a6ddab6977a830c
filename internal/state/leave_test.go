package state

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// claimAndLeave is a process that claims so many volumes, and leaves the log to
// others.
func claimAndLeave(path, domain, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	s, err := Open(context.Background(), path, boot1, LeaveLog())
	if err != nil {
		return err
	}
	for i := range n {
		if _, _, err := s.Claim(context.Background(), attachment(domain, domain+"-"+strconv.Itoa(i), "exclusive")); err != nil {
			return err
		}
	}
	return s.Close()
}

func left(t *testing.T, path, domain string, volumes int) {
	t.Helper()
	if out, err := again(t, "leave", path, domain, fmt.Sprint(volumes)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestLogIsLeft: the log of a process that leaves it stays, for its owner alone;
// all that is in it is read by the next ones, and who closes the file properly
// writes it into the file.
func TestLogIsLeft(t *testing.T) {
	path := statePath(t)
	check(t, second(sound(t, path))) // makes the file, with three records
	before, err := os.ReadFile(path)
	check(t, err)
	for i := range 5 {
		left(t, path, fmt.Sprint("dom", i), 1)
		for _, file := range []string{path, path + "-wal", path + "-shm"} {
			info, err := os.Stat(file)
			check(t, err)
			if info.Mode().Perm() != 0o600 || info.Size() == 0 {
				t.Errorf("%s has mode %s and %d bytes, want 0600 and some", file, info.Mode(), info.Size())
			}
		}
	}
	after, err := os.ReadFile(path)
	check(t, err)
	if string(before) != string(after) {
		t.Error("a process that leaves its log has written into the file")
	}
	s, err := Open(t.Context(), path, boot1)
	check(t, err)
	all, err := s.All(t.Context())
	if err != nil || len(all) != 8 {
		t.Errorf("%d records, %v; want 8", len(all), err)
	}
	check(t, s.Close())
	if _, err := os.Stat(path + "-wal"); !os.IsNotExist(err) {
		t.Errorf("after a proper close the log is still there (%v)", err)
	}
	all, err = open(t, path, boot1).All(t.Context())
	if err != nil || len(all) != 8 {
		t.Errorf("without the log: %d records, %v; want 8", len(all), err)
	}
}

// TestLogDoesNotGrow: whoever leaves the log looks how large it is.
func TestLogDoesNotGrow(t *testing.T) {
	path := statePath(t)
	var largest int64
	written := 0
	for i := range 12 {
		left(t, path, fmt.Sprint("dom", i), 20)
		info, err := os.Stat(path + "-wal")
		if os.IsNotExist(err) {
			written++
			continue
		}
		check(t, err)
		largest = max(largest, info.Size())
	}
	if largest == 0 || largest > maxLogBytes || written == 0 {
		t.Errorf("the largest log that was left has %d bytes, want some, and at most %d; it was written into the file %d times, want some",
			largest, maxLogBytes, written)
	}
	all, err := open(t, path, boot1).All(t.Context())
	if err != nil || len(all) != 240 {
		t.Errorf("%d records, %v; want 240", len(all), err)
	}
}

// TestFilesBesideAreMadePrivate: a copy that was put back may have other modes.
func TestFilesBesideAreMadePrivate(t *testing.T) {
	path := statePath(t)
	left(t, path, "dom", 1)
	files := []string{path, path + "-wal", path + "-shm"}
	for _, file := range files {
		check(t, os.Chmod(file, 0o644))
	}
	open(t, path, boot1)
	for _, file := range files {
		info, err := os.Stat(file)
		check(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s, want 0600", file, info.Mode())
		}
	}
	check(t, os.Remove(path+"-shm"))
	check(t, os.Mkdir(path+"-shm", 0o700))
	if _, err := Open(t.Context(), path, boot1); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("Open = %v, want that %s-shm is not a file", err, path)
	}
}
