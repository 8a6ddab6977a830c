package state

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/volbridge/volbridge/pool"
)

// The answers that callers tell apart.
var (
	// ErrVolumeBusy: another domain on this host has the volume; the error is
	// a *BusyError.
	ErrVolumeBusy = errors.New("volume is used by another domain on this host")
	// ErrNoRecord: there is no such attachment, migration or step.
	ErrNoRecord = errors.New("no such record")
	// ErrNewer: a newer volbridge wrote the file.
	ErrNewer = errors.New("written by a newer volbridge")
	// ErrOtherMachine: another machine wrote the file.
	ErrOtherMachine = errors.New("written by another machine")
	// ErrFull: nothing more can be written to the file system.
	ErrFull = errors.New("no space left for the state file")
	// ErrCorrupt: the file is damaged, or is no state file.
	ErrCorrupt = errors.New("damaged, or no state file of volbridge")
	// ErrLocked: another process kept the file locked for longer than the
	// busy timeout.
	ErrLocked = errors.New("locked by another process")
	// ErrAccess: this process may not read and write the file.
	ErrAccess = errors.New("not accessible")
)

// BusyError refuses a claim; it wraps ErrVolumeBusy.
type BusyError struct {
	Pool, Volume string
	DomainName   string // the domain that has the volume
	DomainUUID   string
	Phase        Phase
	// Stale says that the record is from before the last boot: that domain
	// cannot run since then without a new record, and `volbridge recover`
	// returns what it left.
	Stale bool
}

func (e *BusyError) Error() string {
	owner := pool.Owner{UUID: e.DomainUUID, Name: e.DomainName}
	said := fmt.Sprintf("volume %s/%s is used by %s (%s, %s) on this host", e.Pool, e.Volume, owner.Text(), e.DomainUUID, e.Phase)
	if e.Stale {
		return said + " since before the last boot: run 'volbridge recover'"
	}
	if e.DomainName == pool.CopyOwner {
		return said + ": wait for its end; if its command does not run any more, run 'volbridge recover'"
	}
	return said + ": stop that domain first; if it does not run, run 'volbridge recover'"
}

// Unwrap makes errors.Is(err, ErrVolumeBusy) true.
func (e *BusyError) Unwrap() error { return ErrVolumeBusy }

func (s *Store) explain(did string, err error) error { return explain(s.path, did, err) }

// explain says of an error what was being done to which file, what the error
// means and what to do about it.
func explain(path, did string, err error) error {
	if err == nil {
		return nil
	}
	remedy, kind := classify(path, err)
	switch {
	case kind == nil:
		return fmt.Errorf("%s in state file %s: %w", did, path, err)
	case errors.Is(err, kind):
		return fmt.Errorf("%s in state file %s: %w: %s", did, path, err, remedy)
	}
	return fmt.Errorf("%s in state file %s: %w (%w): %s", did, path, kind, err, remedy)
}

// Remedy is what the message of an error of this package says last: what to do. It
// is "" where nothing is known.
func Remedy(path string, err error) string {
	remedy, _ := classify(path, err)
	return remedy
}

// classify is the one place where foreign errors get a meaning; kind is nil
// for those that have none.
func classify(path string, err error) (remedy string, kind error) {
	var sq *sqlite.Error
	var other *machineError
	switch {
	case errors.Is(err, ErrNewer):
		return "install the newer volbridge on this host again", ErrNewer
	case errors.As(err, &other):
		return other.remedy(), ErrOtherMachine
	case errors.Is(err, ErrCorrupt):
		return remedyCorrupt(path), ErrCorrupt
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return remedyFull(path), ErrFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return remedyAccess, ErrAccess
	case errors.As(err, &sq):
		return classifySQLite(path, sq.Code())
	}
	return "", nil
}

func classifySQLite(path string, code int) (remedy string, kind error) {
	switch code & 0xff { // the low byte is the primary code
	case sqlite3.SQLITE_FULL:
		return remedyFull(path), ErrFull
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return remedyCorrupt(path), ErrCorrupt
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return "repeat the command; 'fuser -v " + path + "' shows who has it", ErrLocked
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return remedyAccess, ErrAccess
	case sqlite3.SQLITE_IOERR:
		// SQLite tells a full disk only where it writes the database itself,
		// not where it makes room in the files beside it.
		if full(filepath.Dir(path)) {
			return remedyFull(path), ErrFull
		}
	}
	return "", nil
}

// full says whether a folder's file system has no room for another page.
func full(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Bavail*uint64(fs.Bsize) < 64<<10
}

const remedyAccess = "run as root, and see that its folder can be written"

func remedyFull(path string) string {
	return "free some space ('df " + filepath.Dir(path) + "') and repeat the command; nothing was recorded"
}

func remedyCorrupt(path string) string {
	return "move it away together with its -wal and -shm files, restart libvirtd (it reports the running domains, " +
		"which records their disks again), then run 'volbridge recover'"
}
