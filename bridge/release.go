package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// Release gives back what a domain has on this host, by its records and, where
// doc is not nil, by what a pool says that this host holds for it without a
// record. What cannot be given back stays recorded as Releasing, and the error
// wraps ErrLeft.
func (b *Bridge) Release(ctx context.Context, domainUUID string, doc *domainxml.Document, stop Stop) error {
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
	for i, a := range records {
		// Only what a guest had has stopped now. A disk of a start that was refused
		// keeps what was known of it before.
		if a.Phase == state.Held && !b.fromBefore(a) {
			records[i].Stopped = stop.of(a)
		}
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

// intend records that attachments are to be released. From here on the record
// proves no longer that this host holds the volume: see stillOurs. One from before
// the last boot stays as it is: it cannot be mistaken for anything else, and its
// boot id says which grant is ours until that is returned. So a power cut may undo
// this: the record is one of those then.
func (b *Bridge) intend(ctx context.Context, records []state.Attachment) error {
	var now []state.Attachment
	for _, a := range records {
		if !b.fromBefore(a) {
			a.Phase, a.Arrival, a.Stopped = state.Releasing, "", ""
			now = append(now, a)
		}
	}
	if len(now) == 0 {
		return nil
	}
	return b.Store.UpdateSoon(ctx, now)
}

// fromBefore says whether a record is from before the last boot.
func (b *Bridge) fromBefore(a state.Attachment) bool { return a.BootID != "" && a.BootID != b.BootID }

// finish takes device and grant away unless something else on this host uses
// the volume, and forgets the record.
func (b *Bridge) finish(ctx context.Context, a state.Attachment) (err error) {
	unlock, err := b.lockVolume(ctx, a.Pool, a.Volume, a.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	shared, err := b.shared(ctx, a)
	if err != nil {
		return err
	}
	if !shared {
		if err := b.takeAway(ctx, a); err != nil {
			return errors.Join(err, b.stillOurs(ctx, a, err))
		}
	}
	return b.Store.Forget(ctx, a.Key())
}

// shared says whether another domain has a record of the volume, or of its
// device under another name: it may be using device and grant. Two pools of the
// configuration may be the same place on the same array, and a grant is returned
// for all of the host's domains.
func (b *Bridge) shared(ctx context.Context, a state.Attachment) (bool, error) {
	all, err := b.Store.Volume(ctx, a.Pool, a.Volume)
	if err == nil && a.Path != "" {
		var more []state.Attachment
		more, err = b.Store.Path(ctx, a.Path)
		all = append(all, more...)
	}
	return slices.ContainsFunc(all, func(o state.Attachment) bool { return o.DomainUUID != a.DomainUUID }), err
}

// takeAway detaches the device and ends the grant.
//
// The order belongs to the protocol. Loop, like SCSI: the host first, then the
// array, because a mapping that vanishes under a device leaves it dead with
// data unwritten. NVMe: flush, then the array, then wait until the namespace has
// gone, because a host cannot let go of a namespace by itself; and one that is
// still there when the array uses its NSID again may be taken for another.
func (b *Bridge) takeAway(ctx context.Context, a state.Attachment) error {
	backend, err := b.Pools.Open(a.Pool)
	if err != nil {
		return err
	}
	conn, err := b.way(ctx, backend, a)
	if a.Path != "" && (errors.Is(err, pool.ErrNotFound) || err == nil && conn.Path != a.Path) {
		var gone bool
		if a, conn, gone, err = b.renamed(ctx, backend, a, err); gone {
			return err
		}
	}
	if err != nil {
		return err
	}
	transport, err := b.Devices.For(conn.Protocol)
	if err != nil {
		return err
	}
	if r, ok := transport.(blockdev.Remover); ok {
		conn.Lasting = conn.Lasting || lasting(a)
		return b.takeFromArray(ctx, r, conn, func() error { return b.revoke(ctx, backend, a) })
	}
	if err := b.timed(ctx, conn, transport.Detach); err != nil {
		return err
	}
	return b.revoke(ctx, backend, a)
}

// way is how this host reaches the volume, or did when the pool cannot be asked.
func (b *Bridge) way(ctx context.Context, backend pool.Backend, a state.Attachment) (pool.Connection, error) {
	conn, err := backend.Connection(ctx, a.Volume, b.Host)
	if errors.Is(err, pool.ErrUnreachable) {
		if recorded, ok := recordedWay(a); ok {
			return recorded, nil
		}
	}
	return conn, err
}

// lasting says whether the grant has found a connection that stays after it.
// The pool knows it from this host's memory, which may be lost meanwhile; without
// it the device would be waited for in vain.
func lasting(a state.Attachment) bool {
	conn, ok := recordedWay(a)
	return ok && conn.Lasting
}

func (b *Bridge) takeFromArray(ctx context.Context, r blockdev.Remover, conn pool.Connection, revoke func() error) error {
	if err := b.timed(ctx, conn, r.Flush); err != nil {
		return err
	}
	if err := revoke(); err != nil || conn.Lasting {
		return err
	}
	if err := b.timed(ctx, conn, r.Gone); err != nil {
		return &looseError{err}
	}
	return nil
}

// revoke returns the grant of this boot or of the record's. One of another boot
// is none of ours: it stays, and nothing is left to do here.
func (b *Bridge) revoke(ctx context.Context, backend pool.Backend, a state.Attachment) error {
	r := pool.RevokeRequest{Volume: a.Volume, Host: b.Host, BootIDs: []string{b.BootID}}
	if b.fromBefore(a) {
		r.BootIDs = append(r.BootIDs, a.BootID)
	}
	err := backend.Revoke(ctx, r)
	switch {
	case err == nil, errors.Is(err, pool.ErrUnreachable) && !errors.Is(err, pool.ErrMaybeDone):
		return err
	case !errors.Is(err, pool.ErrOtherBoot):
		return &looseError{err}
	}
	b.log().WithError(err).Warnf("volume %s/%s is not returned: a host with the id of this one (%s) holds it, perhaps a clone",
		a.Pool, a.Volume, b.Host.ID)
	return nil
}

// timed does one thing to a device within the time that it may take.
func (b *Bridge) timed(ctx context.Context, conn pool.Connection, do func(context.Context, pool.Connection) error) error {
	ctx, cancel := b.deviceContext(ctx)
	defer cancel()
	return do(ctx, conn)
}

// unrecorded finds the disks of a document that this host holds for the domain
// although no record says so (the state file was lost), and records them. What
// cannot be found out is logged: nothing may be taken away then.
func (b *Bridge) unrecorded(ctx context.Context, doc *domainxml.Document, records []state.Attachment) []state.Attachment {
	disks, err := b.managed(ctx, doc, b.Pools)
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
			conn, err := backend.Connection(ctx, d.Volume, b.Host)
			if err != nil {
				return state.Attachment{}, false, err
			}
			// Not what the document says: the guest may have been moved since.
			a := state.Attachment{DomainUUID: doc.UUID(), DomainName: doc.Name(), Target: d.Target,
				Pool: d.Pool, Volume: d.Volume, Mode: string(h.Mode), Path: conn.Path}
			_, _, err = b.Store.Claim(ctx, a)
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
