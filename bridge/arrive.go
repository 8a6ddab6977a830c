package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// Start attaches all managed disks of a domain that is about to be started,
// or that arrives: then its document carries the token that Arrive recorded.
// The document cannot be changed at this point, so its paths must be right;
// that is looked at before anything is granted.
func (b *Bridge) Start(ctx context.Context, doc *domainxml.Document) error {
	return b.enter(ctx, doc, func(jobs []*job) (func() error, error) {
		meta, _ := doc.Metadata()
		var errs []error
		for _, j := range jobs {
			j.mode, j.phase = j.disk.Mode(pool.Exclusive), state.Held
			arrives, err := b.arrives(doc, j.prior, meta.Arrival)
			if arrives {
				j.mode = j.disk.Mode(pool.Handover)
				j.ready = j.prior.Mode == string(j.mode) && j.prior.Path == j.conn.Path
			}
			errs = append(errs, diskError(j.disk, doc.Name(), errors.Join(err, j.startable())))
		}
		return func() error { return nil }, errors.Join(errs...)
	})
}

// arrives says whether the token is the one of the record: only then may the
// domain run here beside the host that it comes from. A record left over from
// an earlier migration has another token, one from before the last boot counts
// for nothing. Nor does a token in the stored definition: libvirt writes that when
// a guest has arrived, or in an offline migration, which asks the hook as a live one
// does, brings no guest, and lets the source's run on.
func (b *Bridge) arrives(doc *domainxml.Document, a *state.Attachment, token string) (bool, error) {
	if a == nil || token == "" || a.Arrival != token || a.BootID != b.BootID {
		return false, nil
	}
	if b.Stored == nil {
		return true, nil
	}
	stored, err := b.Stored(doc.Name(), token)
	if err != nil {
		return false, fmt.Errorf("whether domain %s arrives or is started by hand is not known: %w", doc.Name(), err)
	}
	return !stored, nil
}

// Arrive attaches all managed disks of a domain that another host is about to
// send, and returns the document as this host needs it; nil where the domain
// has no managed disk. The disks stay pending until Start.
func (b *Bridge) Arrive(ctx context.Context, doc *domainxml.Document) (xml []byte, err error) {
	token := rand.Text()
	err = b.enter(ctx, doc, func(jobs []*job) (func() error, error) {
		for _, j := range jobs {
			j.mode, j.phase, j.arrival, j.announced = j.disk.Mode(pool.Handover), state.Pending, token, true
			// libvirt calls this hook before it looks whether the domain
			// runs here already: what is Held stays Held.
			if b.kept(j.prior) {
				j.phase = j.prior.Phase
			}
		}
		return func() (err error) {
			meta, _ := doc.Metadata()
			meta.Arrival = token
			xml, err = rewrite(doc, jobs, &meta)
			return err
		}, nil
	})
	return xml, err
}

// Restore attaches all managed disks of a domain that is about to be restored
// from a saved image, and returns the document if this host needs another than
// the saved one, else nil.
func (b *Bridge) Restore(ctx context.Context, doc *domainxml.Document) (xml []byte, err error) {
	err = b.enter(ctx, doc, func(jobs []*job) (func() error, error) {
		for _, j := range jobs {
			j.mode, j.phase = j.disk.Mode(pool.Exclusive), state.Held
		}
		return func() (err error) {
			xml, err = changed(doc, jobs)
			return err
		}, nil
	})
	var elsewhere *movedError
	if errors.As(err, &elsewhere) {
		err = fmt.Errorf("%w; the XML of a saved image is changed with \"virsh managedsave-edit\" or \"virsh save-image-edit\"", err)
	}
	return xml, err
}

// enter is the way in: recognise, resolve, let prepare decide how each disk
// is taken, take.
func (b *Bridge) enter(ctx context.Context, doc *domainxml.Document,
	prepare func([]*job) (finish func() error, err error)) (err error) {
	records, err := b.Store.Domain(ctx, doc.UUID())
	if err != nil {
		return err
	}
	defer func() { err = b.explain(err, records) }()
	var silent sync.Map
	disks, unknown := b.managed(ctx, doc, b.withRecords(records, &silent))
	if unknown == nil {
		b.warnUnclaimed(doc, disks)
	}
	// Whoever is just taking a disk away may leave a record that helps.
	again := errors.Is(unknown, pool.ErrUnreachable) && len(records) > 0
	if !again && (unknown != nil || len(disks) == 0) {
		return unknown
	}
	unlock, err := b.lockDomain(ctx, doc.UUID())
	if err != nil {
		return err
	}
	defer unlock()
	// From here on the records cannot change.
	if records, err = b.Store.Domain(ctx, doc.UUID()); err != nil {
		return err
	}
	if again {
		if disks, err = b.managed(ctx, doc, b.withRecords(records, &silent)); err != nil || len(disks) == 0 {
			return err
		}
	}
	jobs, err := b.resolve(ctx, doc, disks, b.withRecords(records, &silent))
	if err != nil {
		return err
	}
	priors(jobs, records)
	finish, err := prepare(jobs)
	if err != nil {
		return err
	}
	return b.take(ctx, jobs, finish)
}

// priors tells each disk of the record that the domain has of it already.
func priors(jobs []*job, records []state.Attachment) {
	for _, j := range jobs {
		for _, a := range records {
			if a.Key() == j.key() {
				j.prior = &a
			}
		}
	}
}

func rewrite(doc *domainxml.Document, jobs []*job, meta *domainxml.Metadata) ([]byte, error) {
	disks := make([]domainxml.BlockDisk, len(jobs))
	for i, j := range jobs {
		if err := j.disk.rewritable(); err != nil {
			return nil, diskError(j.disk, doc.Name(), err)
		}
		disks[i] = j.blockDisk(j.conn.SizeBytes)
	}
	xml, err := doc.Rewrite(disks, meta)
	if err != nil {
		return nil, err
	}
	return xml, nil
}

// changed rewrites only the disks that are not right as they are. A token left
// from the migration that brought the domain here goes.
func changed(doc *domainxml.Document, jobs []*job) ([]byte, error) {
	var wrong []*job
	for _, j := range jobs {
		x, want := j.disk.XML, j.blockDisk(j.conn.SizeBytes)
		if x.Kind != "block" || x.Source != want.Path || x.SliceBytes != want.SliceBytes {
			wrong = append(wrong, j)
		}
	}
	meta, _ := doc.Metadata()
	if meta.Arrival == "" {
		if len(wrong) == 0 {
			return nil, nil
		}
		return rewrite(doc, wrong, nil)
	}
	meta.Arrival = ""
	return rewrite(doc, wrong, &meta)
}
