package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/volbridge/volbridge/internal/lockfile"
)

// Store is the open state file. Its methods may be called from several
// goroutines; each is one transaction, and all but UpdateSoon and Forget have it
// on the disk when they return.
type Store struct {
	path        string
	bootID      string
	db          *sql.DB
	now         func() time.Time
	busyTimeout time.Duration
	leaveLog    bool
}

// Option changes how Open works.
type Option func(*options)

type options struct {
	busy     time.Duration
	schemas  []string
	leaveLog bool
	machine  string
	replaced string
}

// OnMachine says what ProductUUID returned: a file that another machine wrote is
// refused with ErrOtherMachine.
func OnMachine(productUUID string) Option {
	return func(o *options) { o.machine = productUUID }
}

// Replacing accepts the file of this machine too, which is off for good, and makes
// it the one of OnMachine.
func Replacing(productUUID string) Option {
	return func(o *options) { o.replaced = strings.ToLower(productUUID) }
}

// WithBusyTimeout sets how long a call waits for other processes; 10 s
// without it.
func WithBusyTimeout(d time.Duration) Option {
	return func(o *options) { o.busy = d }
}

// LeaveLog is for a process whose end somebody waits for: Close leaves what was
// written in the log beside the file, as long as that is small, and the file
// open until the process ends. Who closes the file without this option and is
// the last to have it open writes the log into it, which has to wait for the disk
// twice. The next who opens the file reads all of a log that was left, page by
// page: so a large one is no gain.
func LeaveLog() Option {
	return func(o *options) { o.leaveLog = true }
}

const maxLogBytes = 256 << 10

// Open opens the state file, and creates it and its folder where they are
// missing. bootID is what BootID returns: each record carries the boot in
// which it was written. A file of an older volbridge is brought up to date;
// one of a newer is refused with ErrNewer.
func Open(ctx context.Context, path, bootID string, opts ...Option) (*Store, error) {
	o := options{busy: 10 * time.Second, schemas: schemas}
	for _, opt := range opts {
		opt(&o)
	}
	if err := makeFile(path); err != nil {
		return nil, explain(path, "create", err)
	}
	connector, err := sqlite.NewConnector(dsn(path, o.busy))
	if err != nil {
		return nil, explain(path, "open", err)
	}
	s := &Store{path: path, bootID: bootID, db: sql.OpenDB(connector), now: time.Now, busyTimeout: o.busy, leaveLog: o.leaveLog}
	// One connection: SQLite has one writer anyway, and two connections of one
	// process would wait for each other.
	s.db.SetMaxOpenConns(1)
	err = s.ready(ctx, o.schemas)
	if err == nil {
		err = s.ofMachine(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(explain(path, "open", err), s.db.Close())
	}
	return s, nil
}

// Close flushes and closes the file, but for what LeaveLog says.
func (s *Store) Close() error {
	if s.leaveLog {
		// What cannot be looked at is closed in the usual way, which says why.
		if info, err := os.Stat(s.path + logSuffix); err == nil && info.Size() <= maxLogBytes {
			return nil
		}
	}
	return s.explain("close", s.db.Close())
}

// dsn: synchronous=FULL, because an intent that was recorded must survive a
// power cut; immediate transactions, because a reader that becomes a writer
// fails at once instead of waiting.
func dsn(path string, busy time.Duration) string {
	q := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()),
			"synchronous(FULL)",
			"foreign_keys(ON)",
		},
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// SQLite keeps these beside its file while it is open, and after a crash or
// LeaveLog for longer.
const (
	logSuffix   = "-wal"
	indexSuffix = "-shm"
)

// makeFile gives the file its mode before SQLite sees it; SQLite copies the
// mode to the files that it makes beside it. Those that are there may have been
// put there by a person, who restored a copy.
func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := private(path, info, f.Chmod); err != nil {
		return err
	}
	for _, suffix := range []string{logSuffix, indexSuffix} {
		if err := beside(path + suffix); err != nil {
			return err
		}
	}
	return nil
}

// beside does not open the file: closing it would end the locks that this
// process has on it through SQLite.
func beside(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = private(path, info, func(mode fs.FileMode) error { return os.Chmod(path, mode) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil // whoever had it closed the file just now
	}
	return err
}

// private refuses what is no file, and takes it from all but its owner.
func private(path string, info fs.FileInfo, chmod func(fs.FileMode) error) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is a %s, not a file: choose another state_dir", path, info.Mode().Type())
	}
	if info.Mode().Perm()&^fs.FileMode(0o600) != 0 {
		return chmod(0o600)
	}
	return nil
}

// ready brings the file to the newest schema and to write-ahead logging. Only
// a file that needs one of these is locked against other processes that open
// it: SQLite does not wait for them while it changes the journal mode.
func (s *Store) ready(ctx context.Context, schemas []string) error {
	version, mode, err := s.look(ctx, len(schemas))
	if err != nil || (version == len(schemas) && mode == "wal") {
		return err
	}
	unlock, err := lockfile.Folder(ctx, filepath.Dir(s.path))
	if err != nil {
		return fmt.Errorf("wait for other processes that write the state file: %w", err)
	}
	defer unlock()
	// Not inside the transaction: SQLite refuses it there.
	if _, err := s.db.ExecContext(ctx, "PRAGMA journal_mode=WAL"); err != nil {
		return err
	}
	return s.upgrade(ctx, schemas)
}
