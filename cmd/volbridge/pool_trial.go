package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/image/deploy"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

// trialBytes is the size of the volume that `pool test --volume` makes, and
// trialBlock how much of it is written at each end: direct I/O takes multiples of
// the device's blocks.
const (
	trialBytes = 8 * units.MiB
	trialBlock = int(units.MiB)
)

type trialJSON struct {
	Pool    string  `json:"pool"`
	Volume  string  `json:"volume"`
	Path    string  `json:"path"`
	Seconds float64 `json:"attach_seconds"`
}

// poolTrial does on a new volume what a guest needs, and removes it.
func (a *app) poolTrial(ctx context.Context, name string) (err error) {
	h, err := a.openHost(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	ref := volumeRef{name, "volbridge-test-" + strings.ToLower(rand.Text()[:8])}
	b, p, err := h.provisioner(ref)
	if err != nil {
		return err
	}
	if err := h.ready(ctx, b); err != nil {
		return err
	}
	t := &trial{host: h, ref: ref, pool: p, creationID: rand.Text(), owner: pool.Owner{UUID: uuid.NewString(), Name: deploy.OwnerName}}
	if err := t.run(ctx); err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(trialJSON{name, ref.Volume, t.device.Path, t.took.Round(time.Millisecond).Seconds()})
	}
	a.say("pool %s works on this host: volume %s was made, attached as %s within %s, written, read back, and deleted",
		name, ref.Volume, t.device.Path, t.took.Round(time.Millisecond))
	return nil
}

// trial is one new volume. It is recorded as the copy of an image is, so that
// recovery removes it if this process dies.
type trial struct {
	host       *host
	ref        volumeRef
	pool       pool.Provisioner
	owner      pool.Owner
	creationID string

	device blockdev.Device
	took   time.Duration // to attach it
}

func (t *trial) run(ctx context.Context) error {
	unlock, err := t.host.lockCopy(t.owner.UUID)
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }() // nothing depends on its file
	record := state.Copy{OwnerUUID: t.owner.UUID, Pool: t.ref.Pool, Volume: t.ref.Volume, CreationID: t.creationID, Image: "(pool test)"}
	if err := t.host.store.BeginCopy(ctx, record); err != nil {
		return err
	}
	err = t.use(ctx)
	if err != nil {
		err = fmt.Errorf("test of pool %s with volume %s: %w", t.ref.Pool, t.ref, err)
	}
	if left := t.remove(ctx); left != nil {
		return withCode(exitLeft, fmt.Errorf("%w (run 'volbridge recover', which removes it)",
			errors.Join(err, fmt.Errorf("volume %s could not be removed: %w", t.ref, left))))
	}
	return err
}

func (t *trial) use(ctx context.Context) error {
	if _, err := t.pool.Create(ctx, pool.CreateRequest{Name: t.ref.Volume, SizeBytes: trialBytes, CreationID: t.creationID}); err != nil {
		return err
	}
	began := time.Now()
	device, err := t.host.bridge.Borrow(ctx, t.owner, t.ref.Pool, t.ref.Volume)
	if err != nil {
		return err
	}
	t.device, t.took = device, time.Since(began)
	node := device.Node
	if node == "" {
		node = device.Path
	}
	return writeAndRead(node, device.SizeBytes)
}

// remove has time of its own: somebody may have pressed Ctrl-C.
func (t *trial) remove(ctx context.Context) error {
	limit := t.host.config.Timeouts.Release + t.host.config.Timeouts.Device
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, fmt.Errorf("the deadline of %s passed", limit))
	defer cancel()
	if err := t.host.bridge.Return(ctx, t.owner); err != nil {
		return err
	}
	if err := deploy.Delete(ctx, t.pool, t.ref.Volume, t.creationID); err != nil {
		return err
	}
	return t.host.store.EndCopy(ctx, t.owner.UUID)
}

// writeAndRead writes both ends of a device past the page cache, and compares.
func writeAndRead(node string, sizeBytes int64) (err error) {
	f, err := os.OpenFile(node, os.O_RDWR|unix.O_EXCL|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// Direct I/O needs aligned memory, as pages are.
	pages, err := unix.Mmap(-1, 0, 2*trialBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Munmap(pages)) }()
	wrote, read := pages[:trialBlock], pages[trialBlock:]
	for _, at := range []int64{0, sizeBytes - int64(trialBlock)} {
		if _, err := rand.Read(wrote); err != nil {
			return err
		}
		if _, err := f.WriteAt(wrote, at); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if _, err := f.ReadAt(read, at); err != nil {
			return err
		}
		if !bytes.Equal(wrote, read) {
			return fmt.Errorf("%s gave back something else than was written at byte %d: do not use this pool", node, at)
		}
	}
	return nil
}
