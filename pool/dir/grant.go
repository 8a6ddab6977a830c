package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/volbridge/volbridge/pool"
)

func (b *backend) grant(ctx context.Context, r pool.GrantRequest) (c pool.Connection, err error) {
	if err := r.Validate(); err != nil {
		return c, err
	}
	root, err := b.openPool()
	if err != nil {
		return c, err
	}
	defer root.Close()
	err = withVolume(ctx, root, r.Volume, func(v *volume) error {
		c = b.connection(v, r.Host)
		return b.announce(ctx, root, v.folder, r)
	})
	if err != nil {
		return pool.Connection{}, err
	}
	return c, nil
}

// announce writes the host's grant and looks for conflicts before and after.
// Before, under the lock, is what decides where locks work across hosts. On a
// network file system they may hold on one host only: there two hosts that ask
// at once both write before either looks, so at least one sees the other and
// gives way. Both may; never do both stay.
func (b *backend) announce(ctx context.Context, root *os.Root, f *folder, r pool.GrantRequest) error {
	grants, err := f.grants()
	if err != nil {
		return err
	}
	defer grants.Close()
	if err := b.judge(grants, r); err != nil {
		return err
	}
	name := grantName(r.Host)
	before, err := readGrant(grants, name)
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return err
	}
	// The file may have come since it was judged, from a clone of this host:
	// what is replaced must be what was judged.
	if err := b.conflict(r, before.holders()); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	write := writeJSON
	if first {
		write = linkJSON // never over what a clone writes at the same moment
	}
	if err := write(grants, name, before.with(r, b.now())); err != nil {
		if judged := b.judge(grants, r); errors.Is(err, fs.ErrExist) && judged != nil {
			return judged
		}
		return explain(err)
	}
	if err = b.judge(grants, r); err == nil {
		err = f.inPlace(root)
	}
	if err == nil {
		return nil
	}
	undo := func() error { return writeJSON(grants, name, before) }
	if first {
		undo = func() error { return dropFile(grants, name) }
	}
	if failed := undo(); failed != nil {
		// No *pool.HeldError any more: that would mean that nothing changed.
		return fmt.Errorf("%v; the grant could not be taken back, run \"volbridge recover\" on this host: %w", err, explain(failed))
	}
	return err
}

// judge returns a *pool.HeldError if somebody is in the way.
func (b *backend) judge(grants *os.Root, r pool.GrantRequest) error {
	holders, err := readHolders(grants)
	if err != nil {
		return err
	}
	return b.conflict(r, holders)
}

func (b *backend) conflict(r pool.GrantRequest, holders []pool.Holder) error {
	if others := r.Conflicts(holders); len(others) > 0 {
		return &pool.HeldError{Pool: b.name, Volume: r.Volume, Holders: others, Request: &r}
	}
	return nil
}

func dropFile(root *os.Root, name string) error {
	err := root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(root))
}

// revoke needs no volume.json.
func (b *backend) revoke(ctx context.Context, r pool.RevokeRequest) (err error) {
	name := r.Volume
	if err := r.Validate(); err != nil {
		return err
	}
	root, err := b.openPool()
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := openFolder(root, name)
	if err != nil {
		return absent(err)
	}
	defer f.close()
	release, err := lock(ctx, root, name)
	if err != nil {
		return absent(err)
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := f.inPlace(root); err != nil {
		return absent(err)
	}
	grants, err := f.grants()
	if err != nil {
		return err
	}
	defer grants.Close()
	if err := ours(grants, r); err != nil {
		return err
	}
	return explain(dropFile(grants, grantName(r.Host)))
}

// ours refuses a grant of another boot than those meant. Of which host id a
// file is, its name says; so that where any boot will do, a damaged grant can
// be revoked too.
func ours(grants *os.Root, r pool.RevokeRequest) error {
	if len(r.BootIDs) == 0 {
		return nil
	}
	name := grantName(r.Host)
	g, err := readGrant(grants, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("it may be of a clone of this host: %w; if no host uses the volume, remove the file %s",
			err, filepath.Join(grants.Name(), name))
	case !r.Covers(g.Host.BootID):
		return fmt.Errorf("%w: host %s, boot %s", pool.ErrOtherBoot, g.Host.Name, g.Host.BootID)
	}
	return nil
}

// absent makes a volume that is not there a success.
func absent(err error) error {
	if errors.Is(err, pool.ErrNotFound) {
		return nil
	}
	return err
}

func (b *backend) holders(name string) ([]pool.Holder, error) {
	root, err := b.openPool()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	v, err := openVolume(root, name)
	if err != nil {
		return nil, err
	}
	defer v.close()
	grants, err := v.grants()
	if err != nil {
		return nil, err
	}
	defer grants.Close()
	return readHolders(grants)
}
