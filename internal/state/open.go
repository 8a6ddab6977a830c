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
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
)

// Store is the open state file. Its methods may be called from several
// goroutines; each is one transaction that is on the disk when it returns.
type Store struct {
	path   string
	bootID string
	db     *sql.DB
	now    func() time.Time
}

// Option changes how Open works.
type Option func(*options)

type options struct {
	busy    time.Duration
	schemas []string
}

// WithBusyTimeout sets how long a call waits for other processes; 10 s
// without it.
func WithBusyTimeout(d time.Duration) Option {
	return func(o *options) { o.busy = d }
}

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
	s := &Store{path: path, bootID: bootID, db: sql.OpenDB(connector), now: time.Now}
	// One connection: SQLite has one writer anyway, and two connections of one
	// process would wait for each other.
	s.db.SetMaxOpenConns(1)
	if err := s.ready(ctx, o.schemas); err != nil {
		return nil, errors.Join(explain(path, "open", err), s.db.Close())
	}
	return s, nil
}

// Close flushes and closes the file.
func (s *Store) Close() error {
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

// makeFile gives the file its mode before SQLite sees it; SQLite copies the
// mode to the files that it keeps beside it.
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
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is a %s, not a file: choose another state_dir", path, info.Mode().Type())
	}
	if info.Mode().Perm()&^fs.FileMode(0o600) != 0 {
		return f.Chmod(0o600)
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
	unlock, err := lockFolder(ctx, filepath.Dir(s.path))
	if err != nil {
		return err
	}
	defer unlock()
	// Not inside the transaction: SQLite refuses it there.
	if _, err := s.db.ExecContext(ctx, "PRAGMA journal_mode=WAL"); err != nil {
		return err
	}
	return s.upgrade(ctx, schemas)
}

// lockFolder takes an exclusive lock on a folder; it ends with the process.
func lockFolder(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	taken := make(chan error, 1)
	go func() { taken <- flock(f) }()
	select {
	case err := <-taken:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { <-taken; f.Close() }()
		return nil, fmt.Errorf("wait for another process that makes %s ready: %w", dir, ctx.Err())
	}
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
