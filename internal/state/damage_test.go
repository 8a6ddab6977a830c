package state

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/testenv"
	"golang.org/x/sys/unix"
)

// refused opens a file that must be refused, and looks for the file's name
// and the remedy in the answer.
func refused(t *testing.T, path string, want error, says string) {
	t.Helper()
	s, err := Open(t.Context(), path, boot1, WithBusyTimeout(50*time.Millisecond))
	if err == nil {
		s.Close()
	}
	wrong(t, path, err, want, says)
}

func wrong(t *testing.T, path string, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("err = %v, want %v", err, want)
	}
	for _, part := range []string{path, says} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func exec(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	check(t, err)
	defer db.Close()
	for _, st := range statements {
		_, err := db.Exec(st)
		check(t, err)
	}
}

func TestNewerFile(t *testing.T) {
	path := statePath(t)
	check(t, second(sound(t, path)))
	exec(t, path, "PRAGMA user_version=99")
	refused(t, path, ErrNewer, "install the newer volbridge")
}

// sound makes a closed state file and returns its bytes.
func sound(t *testing.T, path string) ([]byte, error) {
	t.Helper()
	s, err := Open(t.Context(), path, boot1)
	check(t, err)
	for _, volume := range []string{"a", "b", "c"} {
		claim(t, s, attachment("web", volume, "exclusive"))
	}
	check(t, s.Close())
	return os.ReadFile(path)
}

func TestForeignDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	exec(t, path, "CREATE TABLE theirs (x)")
	refused(t, path, ErrCorrupt, "another program")
}

func TestUpgrade(t *testing.T) {
	path := statePath(t)
	check(t, second(sound(t, path)))
	more := append(append([]string{}, schemas...), "ALTER TABLE attachment ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")
	with := func(list []string) Option { return func(o *options) { o.schemas = list } }
	s, err := Open(t.Context(), path, boot1, with(more))
	check(t, err)
	if all, err := s.All(t.Context()); err != nil || len(all) != 3 {
		t.Errorf("after the upgrade: %d records, %v; want 3", len(all), err)
	}
	check(t, s.Close())
	refused(t, path, ErrNewer, fmt.Sprintf("version %d", len(more)))

	// An upgrade that fails leaves the file as it was.
	path = statePath(t)
	check(t, second(sound(t, path)))
	bad := append(more, "CREATE TABLE broken (")
	if s, err := Open(t.Context(), path, boot1, with(bad)); err == nil {
		s.Close()
		t.Fatal("a broken upgrade succeeded")
	}
	open(t, path, boot1)
}

func TestDamagedFile(t *testing.T) {
	path := statePath(t)
	content, err := sound(t, path)
	check(t, err)
	for name, damaged := range map[string][]byte{
		"text":          []byte("this is a text that somebody saved over the state file\n"),
		"first page":    append(bytes.Repeat([]byte{0xff}, 4096), content[4096:]...),
		"schema gone":   append(append(append([]byte{}, content[:100]...), bytes.Repeat([]byte{0xa5}, 3996)...), content[4096:]...),
		"cut in page 1": content[:2000],
	} {
		t.Run(name, func(t *testing.T) {
			check(t, os.WriteFile(path, damaged, 0o600))
			refused(t, path, ErrCorrupt, "move it away")
		})
	}
	t.Run("records", func(t *testing.T) {
		check(t, os.WriteFile(path, append(append([]byte{}, content[:4096]...), bytes.Repeat([]byte{0xa5}, len(content)-4096)...), 0o600))
		s := open(t, path, boot1)
		_, err := s.All(t.Context())
		wrong(t, path, err, ErrCorrupt, "move it away")
		_, _, err = s.Claim(t.Context(), attachment("db", "d", "exclusive"))
		wrong(t, path, err, ErrCorrupt, "move it away")
	})
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "file", "state.db")} {
		check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
		if _, err := Open(t.Context(), path, boot1); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s) = %v, want an error that names it", path, err)
		}
	}
}

func TestNotAllowed(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root may do everything but write to what is mounted read-only.
		dir := mountTmpfs(t, "size=1m")
		path := filepath.Join(dir, "state.db")
		check(t, second(sound(t, path)))
		check(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		refused(t, path, ErrAccess, "can be written")
		refused(t, filepath.Join(dir, "new", "state.db"), ErrAccess, "can be written")
		return
	}
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o500))
	refused(t, filepath.Join(dir, "state.db"), ErrAccess, "run as root")
}

func TestLockedByOthers(t *testing.T) {
	path := statePath(t)
	s := open(t, path, boot1)
	tx, err := s.db.BeginTx(t.Context(), nil)
	check(t, err)
	defer tx.Rollback()
	other, err := Open(t.Context(), path, boot1, WithBusyTimeout(50*time.Millisecond))
	check(t, err)
	defer other.Close()
	if _, err := other.All(t.Context()); err != nil {
		t.Errorf("reading beside a writer: %v", err)
	}
	_, _, err = other.Claim(t.Context(), attachment("web", "a", "exclusive"))
	wrong(t, path, err, ErrLocked, "fuser")
}

func mountTmpfs(t *testing.T, data string) string {
	t.Helper()
	testenv.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, data); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// TestFullDisk fills the file system to each possible size of free room in
// turn, so that every write of an open and a claim is once the one that fails.
func TestFullDisk(t *testing.T) {
	dir := mountTmpfs(t, "size=512k")
	path := filepath.Join(dir, "state.db")
	var failedOpen, failedClaim, went int
	for freePages := range 60 {
		fill(t, dir, freePages*4096)
		s, err := Open(t.Context(), path, boot1)
		if err != nil {
			failedOpen++
			wrong(t, path, err, ErrFull, "free some space")
		} else {
			_, _, err = s.Claim(t.Context(), attachment("web", "a", "exclusive"))
			if err != nil {
				failedClaim++
				wrong(t, path, err, ErrFull, "free some space")
			} else {
				went++
			}
			s.Close() // may not be able to write either
		}
		check(t, os.Remove(filepath.Join(dir, "fill")))
		usable(t, path, err == nil)
	}
	if failedOpen == 0 || failedClaim == 0 || went == 0 {
		t.Errorf("%d opens and %d claims failed, %d went well: the test must see all three", failedOpen, failedClaim, went)
	}
}

func fill(t *testing.T, dir string, freeBytes int) {
	t.Helper()
	var fs unix.Statfs_t
	check(t, unix.Statfs(dir, &fs))
	size := int(fs.Bavail)*int(fs.Bsize) - freeBytes
	check(t, os.WriteFile(filepath.Join(dir, "fill"), make([]byte, max(size, 0)), 0o600))
}

// usable: with room again, the file works and holds the claim exactly if the
// claim had said so. The next round starts without a file.
func usable(t *testing.T, path string, claimed bool) {
	t.Helper()
	s, err := Open(t.Context(), path, boot1)
	check(t, err)
	all, err := s.All(t.Context())
	check(t, err)
	if (len(all) == 1) != claimed {
		t.Errorf("%d records are there, claimed %v", len(all), claimed)
	}
	check(t, s.Close())
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}
