package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// multi is pool.Multi: such attachments tolerate each other.
const multi = "multi"

// Claim records the intent to attach a volume for a domain, in phase
// Attaching. If the domain has it already, the record that is there is
// returned unchanged together with true. If another domain on this host has
// it, the claim is refused with a *BusyError, unless both modes are "multi".
func (s *Store) Claim(ctx context.Context, a Attachment) (existing Attachment, had bool, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		existing, had, err = s.claim(ctx, tx, a)
		return err
	})
	if errors.Is(err, ErrVolumeBusy) {
		return Attachment{}, false, err
	}
	return existing, had, s.explain(fmt.Sprintf("claim volume %s/%s for domain %s", a.Pool, a.Volume, a.DomainName), err)
}

// ClaimAll is Claim for several volumes in one transaction: after a *BusyError
// none is claimed.
func (s *Store) ClaimAll(ctx context.Context, list []Attachment) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, a := range list {
			if _, _, err := s.claim(ctx, tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, ErrVolumeBusy) {
		return err
	}
	return s.explain(fmt.Sprintf("claim %d volumes", len(list)), err)
}

func (s *Store) claim(ctx context.Context, tx *sql.Tx, a Attachment) (existing Attachment, had bool, err error) {
	there, err := attachments(ctx, tx, "WHERE pool=? AND volume=?", a.Pool, a.Volume)
	if err != nil {
		return Attachment{}, false, err
	}
	for _, other := range there {
		if other.DomainUUID == a.DomainUUID {
			return other, true, nil
		}
	}
	for _, other := range there {
		if a.Mode != multi || other.Mode != multi {
			return Attachment{}, false, s.busy(other)
		}
	}
	a.Phase = Attaching
	existing, err = s.put(ctx, tx, a)
	return existing, false, err
}

func (s *Store) busy(by Attachment) *BusyError {
	return &BusyError{
		Pool: by.Pool, Volume: by.Volume,
		DomainName: by.DomainName, DomainUUID: by.DomainUUID,
		Phase: by.Phase, Stale: s.Stale(by.BootID),
	}
}

// Stale says whether a record with this boot id is from before the last boot.
func (s *Store) Stale(bootID string) bool { return bootID != s.bootID }

// Change is one more thing that SetPhase sets.
type Change func(*Attachment)

// WithPath sets the device path that was handed over.
func WithPath(path string) Change { return func(a *Attachment) { a.Path = path } }

// WithArrival sets the token of an incoming migration; empty clears it.
func WithArrival(token string) Change { return func(a *Attachment) { a.Arrival = token } }

// WithMode sets the access mode.
func WithMode(mode string) Change { return func(a *Attachment) { a.Mode = mode } }

// SetPhase moves an attachment on, and stamps it with the time and this boot.
// It gives ErrNoRecord if there is none.
func (s *Store) SetPhase(ctx context.Context, k Key, phase Phase, changes ...Change) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		a, err := s.attachment(ctx, tx, k)
		if err != nil {
			return err
		}
		a.Phase = phase
		for _, change := range changes {
			change(&a)
		}
		_, err = s.put(ctx, tx, a)
		return err
	})
	return s.explain(fmt.Sprintf("set volume %s/%s of domain %s to %s", k.Pool, k.Volume, k.DomainUUID, phase), err)
}

// Update stores all fields of an attachment that is there, stamped with the
// time and this boot. It gives ErrNoRecord if there is none.
func (s *Store) Update(ctx context.Context, a Attachment) error {
	return s.UpdateAll(ctx, []Attachment{a})
}

// UpdateAll is Update for several attachments in one transaction.
func (s *Store) UpdateAll(ctx context.Context, list []Attachment) error {
	var at Attachment
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, at = range list {
			if _, err := s.attachment(ctx, tx, at.Key()); err != nil {
				return err
			}
			if _, err := s.put(ctx, tx, at); err != nil {
				return err
			}
		}
		return nil
	})
	return s.explain(fmt.Sprintf("update volume %s/%s of domain %s", at.Pool, at.Volume, at.DomainName), err)
}

// Forget removes an attachment; one that is not there is no error.
func (s *Store) Forget(ctx context.Context, k Key) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM attachment WHERE domain_uuid=? AND pool=? AND volume=?",
			k.DomainUUID, k.Pool, k.Volume)
		return err
	})
	return s.explain(fmt.Sprintf("forget volume %s/%s of domain %s", k.Pool, k.Volume, k.DomainUUID), err)
}

// Domain returns a domain's attachments, sorted by target.
func (s *Store) Domain(ctx context.Context, uuid string) ([]Attachment, error) {
	list, err := attachments(ctx, s.db, "WHERE domain_uuid=? ORDER BY target, pool, volume", uuid)
	return list, s.explain("look up domain "+uuid, err)
}

// Volume returns the attachments of one volume: one, or several that are all
// in mode "multi".
func (s *Store) Volume(ctx context.Context, pool, volume string) ([]Attachment, error) {
	list, err := attachments(ctx, s.db, "WHERE pool=? AND volume=? ORDER BY domain_name, domain_uuid", pool, volume)
	return list, s.explain(fmt.Sprintf("look up volume %s/%s", pool, volume), err)
}

// All returns every attachment, sorted by domain and target.
func (s *Store) All(ctx context.Context) ([]Attachment, error) {
	list, err := attachments(ctx, s.db, "ORDER BY domain_name, domain_uuid, target, pool, volume")
	return list, s.explain("list attachments", err)
}

func (s *Store) attachment(ctx context.Context, q rower, k Key) (Attachment, error) {
	list, err := attachments(ctx, q, "WHERE domain_uuid=? AND pool=? AND volume=?", k.DomainUUID, k.Pool, k.Volume)
	if err != nil {
		return Attachment{}, err
	}
	if len(list) == 0 {
		return Attachment{}, ErrNoRecord
	}
	return list[0], nil
}

func (s *Store) put(ctx context.Context, tx *sql.Tx, a Attachment) (Attachment, error) {
	a.BootID, a.Updated = s.bootID, s.now()
	_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO attachment
		(domain_uuid, pool, volume, domain_name, target, mode, phase, path, arrival, boot_id, updated_ns)
		VALUES (?,?,?,?,?,?,?,?,?,?,?)`,
		a.DomainUUID, a.Pool, a.Volume, a.DomainName, a.Target, a.Mode, string(a.Phase), a.Path, a.Arrival,
		a.BootID, a.Updated.UnixNano())
	return a, err
}

type rower interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func attachments(ctx context.Context, q rower, where string, args ...any) ([]Attachment, error) {
	rows, err := q.QueryContext(ctx, `SELECT domain_uuid, pool, volume, domain_name, target, mode, phase,
		path, arrival, boot_id, updated_ns FROM attachment `+where, args...)
	return collect(rows, err, func(a *Attachment) error {
		var updated int64
		err := rows.Scan(&a.DomainUUID, &a.Pool, &a.Volume, &a.DomainName, &a.Target, &a.Mode, &a.Phase,
			&a.Path, &a.Arrival, &a.BootID, &updated)
		a.Updated = time.Unix(0, updated)
		return err
	})
}

// collect reads all rows before it returns: the one connection is busy until
// they are closed.
func collect[T any](rows *sql.Rows, err error, scan func(*T) error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		var item T
		if err := scan(&item); err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, rows.Err()
}
