package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Inspect reads the whole state file and says what is damaged, or that it is not
// this machine's, without changing it; productUUID is what ProductUUID returned. A
// file that is not there is the caller's business.
func Inspect(ctx context.Context, path, productUUID string) (err error) {
	q := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(1000)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return explain(path, "open", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return explain(path, "read", err)
	}
	if version > len(schemas) {
		return explain(path, "read", fmt.Errorf("version %d: %w", version, ErrNewer))
	}
	if err := quickCheck(ctx, db); err != nil || version < len(schemas) || productUUID == "" {
		return explain(path, "check", err)
	}
	there, err := machineOf(ctx, db)
	if err == nil && there != "" && there != productUUID {
		err = &machineError{there, productUUID}
	}
	return explain(path, "check", err)
}

func quickCheck(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "PRAGMA quick_check(3)")
	if err != nil {
		return err
	}
	defer rows.Close()
	var wrong []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		if line != "ok" {
			wrong = append(wrong, line)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", ErrCorrupt, strings.Join(wrong, "; "))
	}
	return rows.Err()
}
