package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/volbridge/volbridge/internal/lazyregexp"
)

// machineTable has at most one row.
const machineTable = `
CREATE TABLE machine (
	one          INTEGER PRIMARY KEY CHECK (one = 1),
	product_uuid TEXT NOT NULL
);
`

var uuidForm = lazyregexp.New(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// ProductUUID returns the UUID that the firmware gives the machine (SMBIOS, system
// information), and "" where it gives none or this process may not read it; sysRoot
// is "/sys".
func ProductUUID(sysRoot string) string {
	text, err := os.ReadFile(filepath.Join(sysRoot, "class/dmi/id/product_uuid"))
	id := strings.ToLower(strings.TrimSpace(string(text)))
	if err != nil || !uuidForm.MatchString(id) {
		return ""
	}
	return id
}

// ofMachine refuses records that another machine has written: this is a copy of
// its system then, made while it ran perhaps. Records name the boot whose grants
// are this host's own, and those of a machine that still runs are not. A file that
// names no machine yet is this one's.
func (s *Store) ofMachine(ctx context.Context, o options) error {
	if o.machine == "" {
		return nil
	}
	there, err := machineOf(ctx, s.db)
	switch {
	case err != nil:
		return err
	case there == o.machine:
		return nil
	case there != "" && there != o.replaced:
		return &machineError{there, o.machine}
	}
	_, err = s.db.ExecContext(ctx, `INSERT INTO machine (one, product_uuid) VALUES (1, ?)
		ON CONFLICT (one) DO UPDATE SET product_uuid = excluded.product_uuid`, o.machine)
	return err
}

func machineOf(ctx context.Context, q queryer) (productUUID string, err error) {
	err = q.QueryRowContext(ctx, "SELECT product_uuid FROM machine").Scan(&productUUID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return productUUID, err
}

// machineError wraps ErrOtherMachine.
type machineError struct{ there, here string }

func (e *machineError) Error() string {
	return fmt.Sprintf("%s: by the one with the product UUID %s, and this one has %s", ErrOtherMachine, e.there, e.here)
}

func (e *machineError) Unwrap() error { return ErrOtherMachine }

func (e *machineError) remedy() string {
	return "if that machine may still run, this one is a copy of it: move the file away here, together with its -wal and -shm files; " +
		"if that machine is off for good and this one has its place, or if it is the same one with a new mainboard or firmware: " +
		"'volbridge recover --replaces " + e.there + "'"
}
