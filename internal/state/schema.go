package state

import (
	"context"
	"database/sql"
	"fmt"
)

// applicationID marks the file as ours ("volb").
const applicationID = 0x766f6c62

// schemas[n] brings a file of version n to version n+1. An entry that was
// released is never changed.
var schemas = []string{`
CREATE TABLE attachment (
	domain_uuid TEXT NOT NULL,
	pool        TEXT NOT NULL,
	volume      TEXT NOT NULL,
	domain_name TEXT NOT NULL,
	target      TEXT NOT NULL,
	mode        TEXT NOT NULL,
	phase       TEXT NOT NULL,
	path        TEXT NOT NULL,
	arrival     TEXT NOT NULL,
	boot_id     TEXT NOT NULL,
	updated_ns  INTEGER NOT NULL,
	PRIMARY KEY (domain_uuid, pool, volume)
) WITHOUT ROWID;
CREATE INDEX attachment_volume ON attachment (pool, volume);
CREATE TABLE migration (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	domain_uuid TEXT NOT NULL,
	domain_name TEXT NOT NULL,
	source_uri  TEXT NOT NULL,
	dest_uri    TEXT NOT NULL,
	state       TEXT NOT NULL,
	boot_id     TEXT NOT NULL,
	started_ns  INTEGER NOT NULL,
	updated_ns  INTEGER NOT NULL,
	detail      BLOB
);
CREATE TABLE step (
	migration_id INTEGER NOT NULL REFERENCES migration (id) ON DELETE CASCADE,
	n            INTEGER NOT NULL,
	kind         TEXT NOT NULL,
	args         BLOB,
	status       TEXT NOT NULL,
	updated_ns   INTEGER NOT NULL,
	PRIMARY KEY (migration_id, n)
) WITHOUT ROWID;
`, `
ALTER TABLE attachment ADD COLUMN device BLOB;
ALTER TABLE attachment ADD COLUMN stopped TEXT NOT NULL DEFAULT '';
`, copyTable, machineTable}

// look says which version the file has and how it is journalled, and refuses
// what this program cannot use. It changes nothing.
func (s *Store) look(ctx context.Context, newest int) (version int, journal string, err error) {
	if version, err = inspect(ctx, s.db, newest); err != nil {
		return 0, "", err
	}
	err = s.db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal)
	return version, journal, err
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// inspect reads whose file it is and of which version.
func inspect(ctx context.Context, q queryer, newest int) (version int, err error) {
	var owner, tables int
	err = q.QueryRowContext(ctx, `SELECT
		(SELECT user_version FROM pragma_user_version),
		(SELECT application_id FROM pragma_application_id),
		(SELECT count(*) FROM sqlite_schema)`).Scan(&version, &owner, &tables)
	if err != nil {
		return 0, err
	}
	fresh := version == 0 && owner == 0 && tables == 0
	switch {
	case !fresh && owner != applicationID:
		return 0, fmt.Errorf("%w: it is the database of another program", ErrCorrupt)
	case version > newest:
		return 0, fmt.Errorf("%w: the file has version %d, this program knows %d", ErrNewer, version, newest)
	}
	return version, nil
}

// upgrade applies the schemas that the file lacks, all or none. Another
// process may have done it meanwhile, so it looks again inside.
func (s *Store) upgrade(ctx context.Context, schemas []string) error {
	return transact(ctx, s.db, func(tx *sql.Tx) error {
		version, err := inspect(ctx, tx, len(schemas))
		if err != nil {
			return err
		}
		for ; version < len(schemas); version++ {
			if _, err := tx.ExecContext(ctx, schemas[version]); err != nil {
				return fmt.Errorf("upgrade from version %d: %w", version, err)
			}
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, version))
		return err
	})
}
