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

// Update stores all fields of an attachment that is there, stamped with the
// time and this boot. It gives ErrNoRecord if there is none.
func (s *Store) Update(ctx context.Context, a Attachment) error {
	return s.UpdateAll(ctx, []Attachment{a})
}

// UpdateAll is Update for several attachments in one transaction.
func (s *Store) UpdateAll(ctx context.Context, list []Attachment) error {
	return s.updateAll(ctx, list, s.write, func(Attachment) error { return nil })
}

// UpdateSoon is UpdateAll for what a power cut may undo, and does not wait for
// the disk. A power cut is the end of this boot, and of the records of another
// boot only their keys and their boot id count: no guest runs by them, nothing
// is proved by them, and recovery takes back what they name in whatever phase
// they are. Neither changes here: where a record is of another boot, so that
// this one would become known by the update, UpdateSoon is UpdateAll.
func (s *Store) UpdateSoon(ctx context.Context, list []Attachment) error {
	err := s.updateAll(ctx, list, s.writeSoon, func(there Attachment) error {
		if s.Stale(there.BootID) {
			return errOtherBoot
		}
		return nil
	})
	if errors.Is(err, errOtherBoot) {
		return s.UpdateAll(ctx, list)
	}
	return err
}

var errOtherBoot = errors.New("the record is of another boot")

func (s *Store) updateAll(ctx context.Context, list []Attachment,
	write func(context.Context, func(*sql.Tx) error) error, may func(there Attachment) error) error {
	if len(list) == 0 {
		return nil
	}
	at := list[0]
	err := write(ctx, func(tx *sql.Tx) error {
		for _, at = range list {
			there, err := s.attachment(ctx, tx, at.Key())
			if err == nil {
				err = may(there)
			}
			if err == nil {
				_, err = s.put(ctx, tx, at)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return s.explain(fmt.Sprintf("update volume %s/%s of domain %s", at.Pool, at.Volume, at.DomainName), err)
}

// Forget removes an attachment; one that is not there is no error. It does not
// wait for the disk: after a power cut the record may be there again, and
// recovery takes back once more what was taken back, which does no harm.
func (s *Store) Forget(ctx context.Context, k Key) error {
	err := s.writeSoon(ctx, func(tx *sql.Tx) error {
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

// Path returns the attachments with this device path, of whatever pool: two
// pools may be one place under two names.
func (s *Store) Path(ctx context.Context, path string) ([]Attachment, error) {
	list, err := attachments(ctx, s.db, "WHERE path=? ORDER BY domain_name, domain_uuid, pool, volume", path)
	return list, s.explain("look up device "+path, err)
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
		(domain_uuid, pool, volume, domain_name, target, mode, phase, path, arrival, boot_id, updated_ns, device, stopped)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		a.DomainUUID, a.Pool, a.Volume, a.DomainName, a.Target, a.Mode, string(a.Phase), a.Path, a.Arrival,
		a.BootID, a.Updated.UnixNano(), a.Device, a.Stopped)
	return a, err
}

type rower interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func attachments(ctx context.Context, q rower, where string, args ...any) ([]Attachment, error) {
	rows, err := q.QueryContext(ctx, `SELECT domain_uuid, pool, volume, domain_name, target, mode, phase,
		path, arrival, boot_id, updated_ns, device, stopped FROM attachment `+where, args...)
	return collect(rows, err, func(a *Attachment) error {
		var updated int64
		err := rows.Scan(&a.DomainUUID, &a.Pool, &a.Volume, &a.DomainName, &a.Target, &a.Mode, &a.Phase,
			&a.Path, &a.Arrival, &a.BootID, &updated, &a.Device, &a.Stopped)
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
