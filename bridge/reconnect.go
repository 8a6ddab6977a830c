package bridge

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// Reconnect records what libvirt says after its daemon came back: the domain
// runs here. Its records become Held, and managed disks without a record (the
// state file was lost) get one. Neither pool nor device is changed; doc may be
// nil.
func (b *Bridge) Reconnect(ctx context.Context, domainUUID string, doc *domainxml.Document) error {
	unlock, err := b.lockDomain(ctx, domainUUID)
	if err != nil {
		return err
	}
	defer unlock()
	records, err := b.Store.Domain(ctx, domainUUID)
	if err != nil {
		return err
	}
	errs := []error{}
	for _, a := range records {
		if a.Phase == state.Held && a.BootID == b.BootID {
			continue
		}
		a.Phase, a.Arrival, a.Stopped = state.Held, "", ""
		errs = append(errs, b.Store.Update(ctx, a))
	}
	if doc != nil {
		errs = append(errs, b.recordRunning(ctx, doc, records))
	}
	return errors.Join(append(errs, b.remark(ctx, domainUUID))...)
}

// recordRunning records the disks of a running domain that have no record.
func (b *Bridge) recordRunning(ctx context.Context, doc *domainxml.Document, records []state.Attachment) error {
	known := make(map[state.Key]bool, len(records))
	for _, a := range records {
		known[a.Key()] = true
	}
	disks, err := b.managed(ctx, doc, b.Pools)
	errs := []error{err}
	for _, d := range disks {
		a := state.Attachment{
			DomainUUID: doc.UUID(), DomainName: doc.Name(), Target: d.Target, Pool: d.Pool, Volume: d.Volume,
			Mode: string(d.Mode(pool.Exclusive)), Path: filepath.Clean(d.XML.Source),
		}
		if known[a.Key()] || d.XML.Kind != "block" {
			continue
		}
		_, _, err := b.Store.Claim(ctx, a)
		if err == nil {
			a.Phase = state.Held
			err = b.Store.Update(ctx, a)
		}
		errs = append(errs, diskError(d, doc.Name(), err))
	}
	return errors.Join(errs...)
}

// remark makes the hint agree with the records.
func (b *Bridge) remark(ctx context.Context, uuid string) error {
	records, err := b.Store.Domain(ctx, uuid)
	if err != nil || len(records) == 0 {
		return err
	}
	return b.Hints.Mark(uuid)
}
