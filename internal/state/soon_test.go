package state

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
)

// levels makes the store's connection note, for each row that it writes, how
// SQLite would synchronise the commit: 1 is not at all, 2 is at once.
func levels(t *testing.T, s *Store) (since func() []int) {
	t.Helper()
	_, err := s.db.Exec(`CREATE TEMP TABLE level (n INTEGER);
		CREATE TEMP TRIGGER ins AFTER INSERT ON main.attachment BEGIN INSERT INTO level SELECT synchronous FROM pragma_synchronous; END;
		CREATE TEMP TRIGGER upd AFTER UPDATE ON main.attachment BEGIN INSERT INTO level SELECT synchronous FROM pragma_synchronous; END;
		CREATE TEMP TRIGGER del AFTER DELETE ON main.attachment BEGIN INSERT INTO level SELECT synchronous FROM pragma_synchronous; END;`)
	check(t, err)
	return func() []int {
		t.Helper()
		rows, err := s.db.Query("DELETE FROM level RETURNING n")
		got, err := collect(rows, err, func(n *int) error { return rows.Scan(n) })
		check(t, err)
		return got
	}
}

// TestWhatWaitsForTheDisk: what makes a record, or makes one known to a boot, is
// on the disk when it returns; what only moves one on, or ends it, need not be.
func TestWhatWaitsForTheDisk(t *testing.T) {
	const soon, now = 1, 2
	a, b := attachment("web", "a", "exclusive"), attachment("web", "b", "exclusive")
	for _, c := range []struct {
		name string
		act  func(s *Store) error
		want int
	}{
		{"Claim", func(s *Store) error { _, _, err := s.Claim(t.Context(), b); return err }, now},
		{"ClaimAll", func(s *Store) error { return s.ClaimAll(t.Context(), []Attachment{a, b}) }, now},
		{"Update", func(s *Store) error { return s.Update(t.Context(), a) }, now},
		{"UpdateAll", func(s *Store) error { return s.UpdateAll(t.Context(), []Attachment{a}) }, now},
		{"UpdateSoon", func(s *Store) error { return s.UpdateSoon(t.Context(), []Attachment{a}) }, soon},
		{"Forget", func(s *Store) error { return s.Forget(t.Context(), a.Key()) }, soon},
		{"Claim after one that did not wait", func(s *Store) error {
			if err := s.Forget(t.Context(), b.Key()); err != nil {
				return err
			}
			_, _, err := s.Claim(t.Context(), b)
			return err
		}, now},
		{"Claim after one that failed without waiting", func(s *Store) error {
			if err := s.UpdateSoon(t.Context(), []Attachment{b}); !errors.Is(err, ErrNoRecord) {
				return errors.Join(errors.New("an update of nothing"), err)
			}
			_, _, err := s.Claim(t.Context(), b)
			return err
		}, now},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, statePath(t), boot1)
			claim(t, s, a)
			since := levels(t, s)
			check(t, c.act(s))
			got := since()
			if len(got) == 0 {
				t.Fatal("nothing was written")
			}
			for _, n := range got {
				if n != c.want {
					t.Errorf("written at levels %v, want %d", got, c.want)
				}
			}
		})
	}
}

// TestABootIsRecordedAtOnce: an update by which a record of an earlier boot
// becomes one of this boot waits for the disk, whoever does it.
func TestABootIsRecordedAtOnce(t *testing.T) {
	path := statePath(t)
	a := attachment("web", "a", "exclusive")
	claim(t, open(t, path, boot1), a)
	s := open(t, path, boot2)
	since := levels(t, s)
	a.Phase = Held
	check(t, s.UpdateSoon(t.Context(), []Attachment{a}))
	if got := since(); len(got) != 1 || got[0] != 2 {
		t.Errorf("written at levels %v, want 2 alone: a boot that a power cut takes out of the record is taken for a clone's", got)
	}
	list, err := s.Domain(t.Context(), a.DomainUUID)
	if err != nil || len(list) != 1 || list[0].BootID != boot2 || list[0].Phase != Held {
		t.Errorf("records %+v, %v", list, err)
	}
}

// TestNoConnectionStaysUnsynchronised: whatever becomes of a write that did not
// wait, the next one does.
func TestNoConnectionStaysUnsynchronised(t *testing.T) {
	for name, do := range map[string]func(cancel func()) func(*sql.Tx) error{
		"done":   func(func()) func(*sql.Tx) error { return func(*sql.Tx) error { return nil } },
		"failed": func(func()) func(*sql.Tx) error { return func(*sql.Tx) error { return errors.New("no") } },
		"cancelled": func(cancel func()) func(*sql.Tx) error {
			return func(*sql.Tx) error { cancel(); return context.Canceled }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "state.db"), boot1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_ = s.writeSoon(ctx, do(cancel))
			level := 0
			check(t, s.write(t.Context(), func(tx *sql.Tx) error {
				return tx.QueryRowContext(t.Context(), "SELECT synchronous FROM pragma_synchronous").Scan(&level)
			}))
			if level != 2 {
				t.Errorf("the next write has level %d, want 2", level)
			}
		})
	}
}
