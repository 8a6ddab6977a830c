// Package deploy writes an image into a volume of a pool: into a new one, or
// over one that is there.
//
// While it works this host holds the volume exclusively, in the name of an owner
// of its own, recorded like a domain's disk; a record beside it says what the
// work is, and a lock that it goes on. So a volume that is being written cannot
// be given to a guest, and recovery can tell a living copy from a dead one.
//
//	lock ─ record ─ create ─ borrow ─ copy ─ forget the record ─ return
//	                   └────────┴──────┴─▶ return ─ delete what was created ─ forget the record
//
// Forgetting the record is the point of no return: from then on the content is
// complete and durable. Before, a volume that was made for the image is deleted
// again, here or by recovery. One that was there before stays, with nothing in
// it that looks like a disk (see package image).
package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/image"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// OwnerName is what others see as the holder of a volume that is being written.
const OwnerName = pool.CopyOwner

// Lender attaches a volume to this host for the time of the work; see
// bridge.Borrow.
type Lender interface {
	Borrow(ctx context.Context, owner pool.Owner, pool, volume string) (blockdev.Device, error)
	Return(ctx context.Context, owner pool.Owner) error
}

// Records are the copies that did not end; *state.Store keeps them.
type Records interface {
	BeginCopy(ctx context.Context, c state.Copy) error
	StartWriting(ctx context.Context, ownerUUID string) error
	EndCopy(ctx context.Context, ownerUUID string) error
}

// Deployer writes images into volumes.
type Deployer struct {
	Tool    image.Tool
	Lender  Lender
	Records Records
	// Lock takes the lock that says that the work of an owner goes on.
	Lock func(ownerUUID string) (release func() error, err error)
	// NewUUID makes the owner's.
	NewUUID func() string
	// UndoTimeout is how long taking back may last; it does not end with the
	// call's context.
	UndoTimeout time.Duration
	// Watch is told how far the copy is; nil for nobody.
	Watch func(image.Progress)
}

// Job is one image for one volume.
type Job struct {
	Source image.Source
	Pool   string
	Volume string
	// Identity is that of the volume which is meant; empty: whichever has the
	// name when it is borrowed.
	Identity blockdev.Identity
	// Meant is asked once nobody else can have the volume or delete it: of some
	// storage the identity is no more than the name. Its error says why the volume
	// is another one than that which is meant; nil for nobody.
	Meant func(ctx context.Context) error
	// Overwrite allows that the volume holds data.
	Overwrite bool
	// Compare reads everything back.
	Compare bool
}

func (j Job) volume() string { return j.Pool + "/" + j.Volume }

// FailedError is a copy that failed.
type FailedError struct {
	Volume string
	Cause  error
	// Left is what could not be taken back; nil if everything was.
	Left error
	// Overwritten: the volume was there before, and what it held is gone.
	Overwritten bool
	// Replaced: the new volume was deleted by somebody else, who made another
	// one of its name; that stays.
	Replaced bool
}

func (e *FailedError) Error() string {
	text := e.Cause.Error()
	if e.Overwritten {
		text += fmt.Sprintf("; what volume %s held before is gone, and the image is not complete: nothing can start from it until an import succeeds", e.Volume)
	}
	if e.Left != nil {
		text += fmt.Sprintf("; not taken back: %v (run `volbridge recover`)", e.Left)
	}
	return text
}

func (e *FailedError) Unwrap() []error { return []error{e.Cause, e.Left} }

// NotEmptyError refuses to write over data. Which volume it is, the error around
// it says.
type NotEmptyError struct {
	Volume  string
	AtBytes int64
}

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("it is not empty, there is data at byte %d; nothing was changed", e.AtBytes)
}

// ReturnError: the image is in the volume, complete, but this host still holds
// it.
type ReturnError struct {
	Volume string
	Err    error
}

func (e *ReturnError) Error() string {
	return fmt.Sprintf("the image is complete in volume %s, but this host could not let go of it: %v", e.Volume, e.Err)
}

func (e *ReturnError) Unwrap() error { return e.Err }

// Create makes a volume as r says and writes the image into it. After an error
// other than *ReturnError there is no volume of ours.
func (d *Deployer) Create(ctx context.Context, p pool.Provisioner, r pool.CreateRequest, j Job) (pool.Volume, error) {
	var v pool.Volume
	w := &work{Deployer: d, job: j, created: p, creationID: r.CreationID}
	err := w.run(ctx, func(ctx context.Context) (err error) {
		v, err = p.Create(ctx, r)
		if errors.Is(err, pool.ErrExists) || errors.Is(err, pool.ErrInvalidName) || errors.Is(err, pool.ErrNoSpace) {
			w.created = nil // nothing of ours is there
		}
		w.job.Identity = v.Identity
		return err
	})
	return v, err
}

// Import writes the image over a volume that is there. It is refused with
// *NotEmptyError if that seems to hold data.
func (d *Deployer) Import(ctx context.Context, j Job) error {
	w := &work{Deployer: d, job: j}
	return w.run(ctx, func(context.Context) error { return nil })
}

// work is one copy on its way.
type work struct {
	*Deployer
	job     Job
	owner   pool.Owner
	created pool.Provisioner // of a volume that this work makes; nil: it was there

	creationID string
	writing    bool // what the volume held is gone
}

func (w *work) run(ctx context.Context, create func(context.Context) error) error {
	w.owner = pool.Owner{UUID: w.NewUUID(), Name: OwnerName}
	unlock, err := w.Lock(w.owner.UUID)
	if err != nil {
		return fmt.Errorf("lock the copy into volume %s: %w", w.job.volume(), err)
	}
	// The lock ends with the process too; nothing depends on its file.
	defer func() { _ = unlock() }()
	record := state.Copy{OwnerUUID: w.owner.UUID, Pool: w.job.Pool, Volume: w.job.Volume, CreationID: w.creationID, Image: w.job.Source.Path}
	if err := w.Records.BeginCopy(ctx, record); err != nil {
		return err
	}
	if err := w.write(ctx, create); err != nil {
		return w.undo(ctx, err)
	}
	if err := w.giveBack(ctx); err != nil {
		return &ReturnError{w.job.volume(), err}
	}
	return nil
}

// write does everything up to the point of no return.
func (w *work) write(ctx context.Context, create func(context.Context) error) error {
	if err := create(ctx); err != nil {
		return err
	}
	device, err := w.Lender.Borrow(ctx, w.owner, w.job.Pool, w.job.Volume)
	if err != nil {
		return err
	}
	if w.job.Identity != "" && device.Identity != w.job.Identity {
		return fmt.Errorf("volume %s was made anew by somebody else just now: it is %s, and %s was meant; nothing was written",
			w.job.volume(), device.Identity, w.job.Identity)
	}
	if w.job.Meant != nil {
		if err := w.job.Meant(ctx); err != nil {
			return fmt.Errorf("volume %s: %w; nothing was written", w.job.volume(), err)
		}
	}
	if err := w.copy(ctx, device); err != nil {
		return fmt.Errorf("volume %s: %w", w.job.volume(), err)
	}
	return w.Records.EndCopy(ctx, w.owner.UUID)
}

func (w *work) copy(ctx context.Context, device blockdev.Device) (err error) {
	node := device.Node
	if node == "" {
		node = device.Path
	}
	target, err := image.OpenTarget(ctx, node, device.SizeBytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if w.created == nil {
		if err := w.mayOverwrite(ctx, target); err != nil {
			return err
		}
	}
	return image.Copy(ctx, w.Tool, w.job.Source, target, image.Options{
		// pool.Provisioner.Create promises it. What a volume that was there
		// holds, nobody promises.
		Zeroed:  w.created != nil,
		Compare: w.job.Compare, Watch: w.Watch,
	})
}

func (w *work) mayOverwrite(ctx context.Context, target *image.Target) error {
	if !w.job.Overwrite {
		empty, at, err := target.Empty(ctx)
		if err != nil {
			return err
		}
		if !empty {
			return &NotEmptyError{w.job.volume(), at}
		}
	}
	if err := w.Records.StartWriting(ctx, w.owner.UUID); err != nil {
		return err
	}
	w.writing = true
	return nil
}

// giveBack has time of its own: somebody may have pressed
// Ctrl-C just now.
func (w *work) giveBack(ctx context.Context) error {
	ctx, cancel := w.afterwards(ctx)
	defer cancel()
	return w.Lender.Return(ctx, w.owner)
}

func (w *work) afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.WithoutCancel(ctx), w.UndoTimeout, fmt.Errorf("the deadline of %s passed", w.UndoTimeout))
}

// undo takes everything back, past failures. What is left stays recorded.
func (w *work) undo(ctx context.Context, cause error) error {
	ctx, cancel := w.afterwards(ctx)
	defer cancel()
	left, replaced := w.Lender.Return(ctx, w.owner), false
	if left == nil && w.created != nil {
		replaced, left = remove(ctx, w.created, w.job.Volume, w.creationID)
	}
	if left == nil {
		left = w.Records.EndCopy(ctx, w.owner.UUID)
	}
	return &FailedError{Volume: w.job.volume(), Cause: cause, Left: left, Overwritten: w.writing, Replaced: replaced}
}

// Delete removes a volume that was made for a copy. One with another creation
// id is none of ours, and stays.
func Delete(ctx context.Context, p pool.Provisioner, volume, creationID string) error {
	_, err := remove(ctx, p, volume, creationID)
	return err
}

// remove says whether the name is another volume's by now.
func remove(ctx context.Context, p pool.Provisioner, volume, creationID string) (theirs bool, err error) {
	err = p.Delete(ctx, volume, creationID)
	if errors.Is(err, pool.ErrNotOurs) {
		return true, nil
	}
	return false, err
}
