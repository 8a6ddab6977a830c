package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// keepMigrations is how many ended migrations are kept for people to look at.
const keepMigrations = 200

// BeginMigration records a migration that is about to be carried out and
// returns its id. State is Planned unless m says otherwise; ID, BootID and the
// times are set here.
func (s *Store) BeginMigration(ctx context.Context, m Migration) (id int64, err error) {
	if m.State == "" {
		m.State = Planned
	}
	now := s.now().UnixNano()
	err = s.write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `INSERT INTO migration
			(domain_uuid, domain_name, source_uri, dest_uri, state, boot_id, started_ns, updated_ns, detail)
			VALUES (?,?,?,?,?,?,?,?,?)`,
			m.DomainUUID, m.DomainName, m.SourceURI, m.DestURI, string(m.State), s.bootID, now, now, m.Detail)
		if err != nil {
			return err
		}
		id, err = result.LastInsertId()
		return err
	})
	return id, s.explain("begin migration of domain "+m.DomainName, err)
}

// SetMigration moves a migration on. A nil detail keeps the one that is there.
// Of the ended migrations the newest 200 are kept.
func (s *Store) SetMigration(ctx context.Context, id int64, state MigrationState, detail []byte) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx,
			"UPDATE migration SET state=?, detail=coalesce(?, detail), updated_ns=? WHERE id=?",
			string(state), detail, s.now().UnixNano(), id)
		if err := changedOne(result, err); err != nil {
			return err
		}
		return dropOld(ctx, tx)
	})
	return s.explain(fmt.Sprintf("set migration %d to %s", id, state), err)
}

func dropOld(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM migration WHERE id IN (
		SELECT id FROM migration WHERE state IN (?,?) ORDER BY id DESC LIMIT -1 OFFSET ?)`,
		string(Finished), string(Undone), keepMigrations)
	return err
}

// Migrations returns the migrations, oldest first: all, or those that are
// neither finished nor undone.
func (s *Store) Migrations(ctx context.Context, unfinishedOnly bool) ([]Migration, error) {
	where := ""
	var args []any
	if unfinishedOnly {
		where, args = "WHERE state NOT IN (?,?) ", []any{string(Finished), string(Undone)}
	}
	list, err := s.migrations(ctx, where+"ORDER BY id", args...)
	return list, s.explain("list migrations", err)
}

// Migration returns one migration, or ErrNoRecord.
func (s *Store) Migration(ctx context.Context, id int64) (Migration, error) {
	list, err := s.migrations(ctx, "WHERE id=?", id)
	if err == nil && len(list) == 0 {
		err = ErrNoRecord
	}
	if err != nil {
		return Migration{}, s.explain(fmt.Sprintf("look up migration %d", id), err)
	}
	return list[0], nil
}

func (s *Store) migrations(ctx context.Context, where string, args ...any) ([]Migration, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, domain_uuid, domain_name, source_uri, dest_uri, state,
		boot_id, started_ns, updated_ns, detail FROM migration `+where, args...)
	return collect(rows, err, func(m *Migration) error {
		var started, updated int64
		err := rows.Scan(&m.ID, &m.DomainUUID, &m.DomainName, &m.SourceURI, &m.DestURI, &m.State,
			&m.BootID, &started, &updated, &m.Detail)
		m.Started, m.Updated = time.Unix(0, started), time.Unix(0, updated)
		return err
	})
}

// TryStep records that a step is about to be tried and returns its number
// within the migration, from 0.
func (s *Store) TryStep(ctx context.Context, migrationID int64, kind string, args []byte) (n int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `INSERT INTO step (migration_id, n, kind, args, status, updated_ns)
			SELECT id, (SELECT coalesce(max(n)+1, 0) FROM step WHERE migration_id=?1), ?2, ?3, ?4, ?5
			FROM migration WHERE id=?1 RETURNING n`,
			migrationID, kind, args, string(Trying), s.now().UnixNano()).Scan(&n)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNoRecord
	}
	return n, s.explain(fmt.Sprintf("record step %s of migration %d", kind, migrationID), err)
}

// SetStep records how a step ended.
func (s *Store) SetStep(ctx context.Context, migrationID int64, n int, status StepStatus) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE step SET status=?, updated_ns=? WHERE migration_id=? AND n=?",
			string(status), s.now().UnixNano(), migrationID, n)
		return changedOne(result, err)
	})
	return s.explain(fmt.Sprintf("set step %d of migration %d to %s", n, migrationID, status), err)
}

// Steps returns the steps of a migration in the order in which they were
// tried.
func (s *Store) Steps(ctx context.Context, migrationID int64) ([]Step, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT migration_id, n, kind, args, status, updated_ns
		FROM step WHERE migration_id=? ORDER BY n`, migrationID)
	list, err := collect(rows, err, func(st *Step) error {
		var updated int64
		err := rows.Scan(&st.MigrationID, &st.N, &st.Kind, &st.Args, &st.Status, &updated)
		st.Updated = time.Unix(0, updated)
		return err
	})
	return list, s.explain(fmt.Sprintf("list steps of migration %d", migrationID), err)
}

func changedOne(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = ErrNoRecord
	}
	return err
}
