package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/volbridge/volbridge/internal/lockfile"
	"github.com/volbridge/volbridge/pool"
)

const deletedPrefix = ".deleted-"

// remove takes the volume's name away in one step, then its data.
func (b *backend) remove(ctx context.Context, name, creationID string) error {
	root, err := b.openPool()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := sweep(root); err != nil {
		return err
	}
	return absent(withVolume(ctx, root, name, func(v *volume) error {
		if creationID != "" && creationID != v.meta.CreationID {
			return fmt.Errorf("%w: it is left as it is", pool.ErrNotOurs)
		}
		if err := b.unheld(v.folder); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return b.discard(root, v.folder)
	}))
}

// unheld returns a *pool.HeldError if anybody holds the volume.
func (b *backend) unheld(f *folder) error {
	grants, err := f.grants()
	if err != nil {
		return err
	}
	defer grants.Close()
	holders, err := readHolders(grants)
	if err != nil {
		return err
	}
	if len(holders) > 0 {
		return &pool.HeldError{Pool: b.name, Volume: f.name, Holders: holders}
	}
	return nil
}

// discard renames the folder, looks once more who holds the volume, for the
// sake of file systems that lock on one host only, and removes the data.
func (b *backend) discard(root *os.Root, f *folder) error {
	temp := deletedPrefix + uuid.NewString()
	if err := root.Rename(f.name, temp); err != nil {
		return explain(err)
	}
	if err := errors.Join(explain(syncDir(root)), b.unheld(f)); err != nil {
		if back := root.Rename(temp, f.name); back != nil {
			err = errors.Join(err, fmt.Errorf("%s must be renamed to %s by hand: %w", filepath.Join(b.path, temp), f.name, back))
		}
		return err
	}
	if err := removeFolder(root, temp); err != nil {
		return fmt.Errorf("the volume is gone, but not yet its data, which the next delete tries to remove again: %w", explain(err))
	}
	return nil
}

// sweep removes what creates and deletes that died have left.
func sweep(root *os.Root) error {
	names, err := list(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, creatingPrefix) || strings.HasPrefix(name, deletedPrefix) {
			if err := sweepOne(root, name); err != nil {
				return fmt.Errorf("remove %s, left by a call that was cut off: %w", filepath.Join(root.Name(), name), explain(err))
			}
		}
	}
	return nil
}

// sweepOne removes a leftover unless its maker lives, which the lock tells. A
// folder without a lock file is one that was just made or is almost gone: it
// is removed only while it is empty, and a maker that loses it starts again.
func sweepOne(root *os.Root, name string) error {
	release, err := lockfile.TryAcquireFunc(name, opener(root, name))
	switch {
	case errors.Is(err, lockfile.ErrHeld):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		_ = root.Remove(name)
		return nil
	case err != nil:
		return err
	}
	return errors.Join(removeFolder(root, name), release())
}

// removeFolder removes a folder whose lock the caller holds, the lock last: as
// long as anything is left, others can see that somebody is at work.
func removeFolder(root *os.Root, name string) error {
	sub, err := root.OpenRoot(name)
	if err != nil {
		return ignoreGone(err)
	}
	defer sub.Close()
	names, err := list(sub)
	if err != nil {
		return err
	}
	for _, entry := range names {
		if entry == lockName {
			continue
		}
		if err := sub.RemoveAll(entry); err != nil {
			return err
		}
	}
	return errors.Join(ignoreGone(sub.Remove(lockName)), ignoreGone(root.Remove(name)))
}
