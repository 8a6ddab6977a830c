package state

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// copyTable holds the copies of images that did not end yet.
const copyTable = `
CREATE TABLE copy (
	owner_uuid  TEXT PRIMARY KEY,
	pool        TEXT NOT NULL,
	volume      TEXT NOT NULL,
	creation_id TEXT NOT NULL,
	image       TEXT NOT NULL,
	writing     INTEGER NOT NULL,
	boot_id     TEXT NOT NULL,
	started_ns  INTEGER NOT NULL
) WITHOUT ROWID;
`

// Copy is one copy of an image into a volume that did not end yet.
type Copy struct {
	OwnerUUID string // in whose name this host holds the volume meanwhile
	Pool      string
	Volume    string
	// CreationID is that of a volume that is made for the copy, and goes if the
	// copy fails; empty for one that was there before.
	CreationID string
	Image      string // the image's path, for people
	Writing    bool   // what the volume held before may be gone
	BootID     string
	Started    time.Time
}

// BeginCopy records a copy that is about to be made; BootID and Started are set
// here.
func (s *Store) BeginCopy(ctx context.Context, c Copy) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO copy
			(owner_uuid, pool, volume, creation_id, image, writing, boot_id, started_ns) VALUES (?,?,?,?,?,?,?,?)`,
			c.OwnerUUID, c.Pool, c.Volume, c.CreationID, c.Image, c.Writing, s.bootID, s.now().UnixNano())
		return err
	})
	return s.explain(fmt.Sprintf("record the copy of image %s into volume %s/%s", c.Image, c.Pool, c.Volume), err)
}

// StartWriting records that a copy begins to overwrite what the volume holds.
// It gives ErrNoRecord if there is no such copy.
func (s *Store) StartWriting(ctx context.Context, ownerUUID string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE copy SET writing=1 WHERE owner_uuid=?", ownerUUID)
		return changedOne(result, err)
	})
	return s.explain("record that copy "+ownerUUID+" writes", err)
}

// EndCopy forgets a copy: it is complete, or was taken back. One that is not
// there is no error.
func (s *Store) EndCopy(ctx context.Context, ownerUUID string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM copy WHERE owner_uuid=?", ownerUUID)
		return err
	})
	return s.explain("forget copy "+ownerUUID, err)
}

// Copies returns the copies that did not end, oldest first.
func (s *Store) Copies(ctx context.Context) ([]Copy, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT owner_uuid, pool, volume, creation_id, image, writing, boot_id, started_ns
		FROM copy ORDER BY started_ns, owner_uuid`)
	list, err := collect(rows, err, func(c *Copy) error {
		var started int64
		err := rows.Scan(&c.OwnerUUID, &c.Pool, &c.Volume, &c.CreationID, &c.Image, &c.Writing, &c.BootID, &started)
		c.Started = time.Unix(0, started)
		return err
	})
	return list, s.explain("list copies", err)
}
