package bridge

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// Release gives back what a domain has on this host, by its records and, where
// doc is not nil, by what a pool says that this host holds for it without a
// record. What cannot be given back stays recorded as Releasing, and the error
// wraps ErrLeft.
func (b *Bridge) Release(ctx context.Context, domainUUID string, doc *domainxml.Document) error {
	unlock, err := b.lockDomain(ctx, domainUUID)
	if err != nil {
		return err
	}
	defer unlock()
	records, err := b.Store.Domain(ctx, domainUUID)
	if err != nil {
		return err
	}
	if doc != nil {
		records = append(records, b.unrecorded(ctx, doc, records)...)
	}
	if err := b.intend(ctx, records); err != nil {
		return err
	}
	err = each(len(records), b.parallel(), func(i int) error {
		return left(attachmentError(records[i], b.finish(ctx, records[i])))
	})
	return errors.Join(err, b.unmark(ctx, domainUUID))
}

// ReleaseAttachment gives back one attachment. The caller has the domain's
// lock (Locks.Domain), and has seen after taking it that the record is still
// what it judged by.
func (b *Bridge) ReleaseAttachment(ctx context.Context, a state.Attachment) error {
	err := left(attachmentError(a, b.giveBack(ctx, a)))
	return errors.Join(err, b.unmark(ctx, a.DomainUUID))
}

func attachmentError(a state.Attachment, err error) error {
	return diskError(Disk{Target: a.Target}, a.DomainName, err)
}

// giveBack records the intent and finishes it.
func (b *Bridge) giveBack(ctx context.Context, a state.Attachment) error {
	if err := b.intend(ctx, []state.Attachment{a}); err != nil {
		return err
	}
	return b.finish(ctx, a)
}

// intend records that attachments are to be released. One from before the last
// boot stays as it is: it cannot be mistaken for anything else, and its boot id
// says which grant is ours until that is returned.
func (b *Bridge) intend(ctx context.Context, records []state.Attachment) error {
	var now []state.Attachment
	for _, a := range records {
		if !b.fromBefore(a) {
			a.Phase, a.Arrival = state.Releasing, ""
			now = append(now, a)
		}
	}
	if len(now) == 0 {
		return nil
	}
	return b.Store.UpdateAll(ctx, now)
}

// fromBefore says whether a record is from before the last boot.
func (b *Bridge) fromBefore(a state.Attachment) bool { return a.BootID != "" && a.BootID != b.BootID }

// finish takes device and grant away unless something else on this host uses
// the volume, and forgets the record.
func (b *Bridge) finish(ctx context.Context, a state.Attachment) (err error) {
	unlock, err := b.Locks.Volume(ctx, a.Pool, a.Volume)
	if err != nil {
		return fmt.Errorf("lock volume %s/%s: %w", a.Pool, a.Volume, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	shared, err := b.shared(ctx, a)
	if err != nil {
		return err
	}
	if !shared {
		if err := b.takeAway(ctx, a); err != nil {
			return err
		}
	}
	return b.Store.Forget(ctx, a.Key())
}

// shared says whether another domain has a record of the volume: it may be
// using device and grant.
func (b *Bridge) shared(ctx context.Context, a state.Attachment) (bool, error) {
	all, err := b.Store.Volume(ctx, a.Pool, a.Volume)
	for _, other := range all {
		if other.Key() != a.Key() {
			return true, err
		}
	}
	return false, err
}

// takeAway detaches the device and ends the grant.
//
// The order belongs to the protocol. Loop, like SCSI: the host first, then the
// array, because a mapping that vanishes under a device leaves it dead with
// data unwritten. (NVMe will differ: flush, the array, then wait until the
// namespace has gone.)
func (b *Bridge) takeAway(ctx context.Context, a state.Attachment) error {
	backend, err := b.Pools.Open(a.Pool)
	if err != nil {
		return err
	}
	conn, err := backend.Connection(ctx, a.Volume, b.Host)
	switch {
	case errors.Is(err, pool.ErrNotFound) && !b.Devices.Present(a.Path):
		// The volume is gone and so is its device; only a grant may be left.
	case err != nil:
		return err
	default:
		if err := b.detach(ctx, conn); err != nil {
			return err
		}
	}
	return b.revoke(ctx, backend, a)
}

// revoke returns the grant of this boot or of the record's. One of another boot
// is none of ours: it stays, and nothing is left to do here.
func (b *Bridge) revoke(ctx context.Context, backend pool.Backend, a state.Attachment) error {
	r := pool.RevokeRequest{Volume: a.Volume, Host: b.Host, BootIDs: []string{b.BootID}}
	if b.fromBefore(a) {
		r.BootIDs = append(r.BootIDs, a.BootID)
	}
	err := backend.Revoke(ctx, r)
	if !errors.Is(err, pool.ErrOtherBoot) {
		return err
	}
	b.log().WithError(err).Warnf("volume %s/%s is not returned: a host with the id of this one (%s) holds it, perhaps a clone",
		a.Pool, a.Volume, b.Host.ID)
	return nil
}

func (b *Bridge) detach(ctx context.Context, conn blockdev.Connection) error {
	transport, err := b.Devices.For(conn.Protocol)
	if err != nil {
		return err
	}
	ctx, cancel := b.deviceContext(ctx)
	defer cancel()
	return transport.Detach(ctx, conn)
}

// unrecorded finds the disks of a document that this host holds for the domain
// although no record says so (the state file was lost), and records them. What
// cannot be found out is logged: nothing may be taken away then.
func (b *Bridge) unrecorded(ctx context.Context, doc *domainxml.Document, records []state.Attachment) []state.Attachment {
	disks, err := b.managed(ctx, doc)
	if err != nil {
		b.log().WithError(err).Warn("some disks of the domain's XML were not looked at")
	}
	known := make(map[[2]string]bool, len(records))
	for _, a := range records {
		known[[2]string{a.Pool, a.Volume}] = true
	}
	var found []state.Attachment
	for _, d := range disks {
		if known[[2]string{d.Pool, d.Volume}] {
			continue
		}
		a, ok, err := b.orphan(ctx, doc, d)
		if err != nil {
			b.log().WithError(diskError(d, doc.Name(), err)).Warn("not known whether this host holds the volume")
		}
		if ok {
			found = append(found, a)
		}
	}
	return found
}

func (b *Bridge) orphan(ctx context.Context, doc *domainxml.Document, d Disk) (state.Attachment, bool, error) {
	backend, err := b.Pools.Open(d.Pool)
	if err != nil {
		return state.Attachment{}, false, err
	}
	holders, err := backend.Holders(ctx, d.Volume)
	if err != nil {
		return state.Attachment{}, false, err
	}
	for _, h := range holders {
		if h.Host.ID == b.Host.ID && h.BootID == b.BootID && h.Owner.UUID == doc.UUID() {
			a := state.Attachment{DomainUUID: doc.UUID(), DomainName: doc.Name(), Target: d.Target,
				Pool: d.Pool, Volume: d.Volume, Mode: string(h.Mode), Path: d.XML.Source}
			_, _, err := b.Store.Claim(ctx, a)
			return a, err == nil, err
		}
	}
	return state.Attachment{}, false, nil
}

// unmark removes the domain's hint once no record is left.
func (b *Bridge) unmark(ctx context.Context, uuid string) error {
	records, err := b.Store.Domain(ctx, uuid)
	if err != nil || len(records) > 0 {
		return err
	}
	return b.Hints.Clear(uuid)
}

// lockDomain waits for the domain's lock. The lock ends with the process too,
// so that a failing unlock is only logged.
func (b *Bridge) lockDomain(ctx context.Context, uuid string) (unlock func(), err error) {
	release, err := b.Locks.Domain(ctx, uuid)
	if err != nil {
		return nil, fmt.Errorf("lock domain %s: %w", uuid, err)
	}
	return func() {
		if err := release(); err != nil {
			b.log().WithError(err).Warn("unlock domain " + uuid)
		}
	}, nil
}
