package state

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/volbridge/volbridge/internal/lockfile"
)

// write runs do in one transaction, which is on the disk when write returns
// nil and has left no trace when it returns an error.
//
// Writers queue at a lock of their own. SQLite's waiters sleep longer and longer
// and do not queue: of two hundred some would still wait when all that came
// after them were done, until the busy timeout fails them.
func (s *Store) write(ctx context.Context, do func(*sql.Tx) error) error {
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return transact(ctx, s.db, do)
}

// writeSoon is write without waiting for the disk: every process sees the
// result at once, but a power cut may undo it, together with all that was
// written since. What write does later makes it safe too, for the log is
// synchronised as a whole. It is for what is as well lost as kept; see
// UpdateSoon and Forget.
func (s *Store) writeSoon(ctx context.Context, do func(*sql.Tx) error) error {
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// SQLite takes this only between transactions. With a write-ahead log
	// NORMAL leaves out the synchronisation at a commit, and nothing else.
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous=NORMAL"); err != nil {
		return err
	}
	return errors.Join(transact(ctx, conn, do), durable(conn))
}

// durable makes a connection synchronise again. One that does not take it is
// thrown away: the next begins with the settings of dsn.
func durable(conn *sql.Conn) error {
	_, err := conn.ExecContext(context.Background(), "PRAGMA synchronous=FULL")
	if err == nil {
		return nil
	}
	if dropped := conn.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(dropped, driver.ErrBadConn) {
		return fmt.Errorf("synchronise with the disk again: %w (%w)", err, dropped)
	}
	return nil
}

// turn waits until it is this writer's turn. It is for order only, SQLite's lock
// is what excludes others: so after the busy timeout it is done without, and a
// process that was stopped in its turn stops nobody.
func (s *Store) turn(ctx context.Context) (done func(), err error) {
	limited, cancel := context.WithTimeout(ctx, s.busyTimeout)
	defer cancel()
	done, err = lockfile.Folder(limited, filepath.Dir(s.path))
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return func() {}, nil
	}
	return done, err
}

type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// transact is write for who has the turn, or the file for himself.
func transact(ctx context.Context, db beginner, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		// A rollback that fails loses nothing: SQLite has done it already, as
		// it does on a full disk, or does it when the connection closes.
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}
