package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

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
	if err := b.sweep(root); err != nil {
		return err
	}
	var temp string
	err = withVolume(ctx, root, name, func(v *volume) (err error) {
		if creationID != "" && creationID != v.meta.CreationID {
			return fmt.Errorf("%w: it is left as it is", pool.ErrNotOurs)
		}
		if err := b.unheld(v.folder); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		temp, err = b.discard(root, v.folder)
		return err
	})
	if err != nil {
		return absent(err)
	}
	return explain(dropFolder(root, temp))
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
// sake of file systems that lock on one host only, and removes the data. The
// folder's new name is returned.
func (b *backend) discard(root *os.Root, f *folder) (temp string, err error) {
	temp = deletedPrefix + uuid.NewString()
	if err := root.Rename(f.name, temp); err != nil {
		return temp, explain(err)
	}
	if err := errors.Join(explain(syncDir(root)), b.unheld(f)); err != nil {
		if back := root.Rename(temp, f.name); errors.Is(back, fs.ErrNotExist) {
			err = fmt.Errorf("%w; another host took what is left of the volume, and removes it unless it is held", err)
		} else if back != nil {
			err = errors.Join(err, fmt.Errorf("%s must be renamed to %s by hand: %w", filepath.Join(b.path, temp), f.name, back))
		}
		return temp, err
	}
	if err := removeFolder(root, temp); err != nil {
		return temp, fmt.Errorf("the volume is gone, but not yet its data, which the next delete tries to remove again: %w", explain(err))
	}
	return temp, nil
}

// sweep removes what creates and deletes that died have left.
func (b *backend) sweep(root *os.Root) error {
	names, err := list(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, creatingPrefix) || strings.HasPrefix(name, deletedPrefix) {
			if err := b.sweepOne(root, name); err != nil {
				return fmt.Errorf("remove %s, left by a call that was cut off: %w", filepath.Join(root.Name(), name), explain(err))
			}
		}
	}
	return nil
}

// sweepOne removes a leftover unless its maker lives, which the lock tells. A
// folder without a lock file is one that was just made or is almost gone: it
// is removed only while it is empty, and a maker that loses it starts again.
func (b *backend) sweepOne(root *os.Root, name string) error {
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
	temp, err := b.takeLeftover(root, name)
	if temp == "" {
		return errors.Join(err, release())
	}
	return errors.Join(removeFolder(root, temp), release(), dropFolder(root, temp))
}

// takeLeftover renames a leftover that nobody holds and returns its new name, or
// none if it must stay. Where locks hold on one host only, its maker may live, and
// be about to give it the name of a volume: of the two renames one wins, and who
// loses touches nothing. So whoever removes a folder was the last to rename it, and
// nobody held it after that.
func (b *backend) takeLeftover(root *os.Root, name string) (temp string, err error) {
	// One that is held keeps its name, for whoever wants to give it its own back.
	if free, err := b.leftoverIsFree(root, name, name); !free {
		return "", err
	}
	temp = deletedPrefix + uuid.NewString()
	if err := root.Rename(name, temp); err != nil {
		return "", ignoreGone(err)
	}
	if free, err := b.leftoverIsFree(root, temp, name); !free {
		return "", errors.Join(err, ignoreGone(root.Rename(temp, name)))
	}
	return temp, nil
}

// leftoverIsFree says whether a leftover is there and nobody holds it. A host may
// have been granted the volume while it was being renamed, where locks hold on one
// host only, and it could not get its name back: then it is to be found as shown.
func (b *backend) leftoverIsFree(root *os.Root, name, shown string) (bool, error) {
	f, err := root.OpenRoot(name)
	if err != nil {
		return false, ignoreGone(err)
	}
	defer f.Close()
	held, err := heldIn(f)
	if err != nil {
		return false, err
	}
	if len(held) > 0 {
		b.log.Warnf("%s holds the data of a volume whose deletion ended halfway, and host %s has it for %s: "+
			"give the folder back the name that the guest's disk has", filepath.Join(b.path, shown), held[0].Host.Name, held[0].Owner.Text())
	}
	return len(held) == 0, nil
}

// heldIn are the holders that a folder tells of that is being deleted. One that is
// half removed tells of none.
func heldIn(f *os.Root) ([]pool.Holder, error) {
	grants, err := f.OpenRoot(grantsName)
	if err != nil {
		return nil, ignoreGone(err)
	}
	defer grants.Close()
	held, err := readHolders(grants)
	return held, ignoreGone(err)
}

// removeFolder removes a folder whose lock the caller holds, the lock last: as
// long as anything is left, others can see that somebody is at work. On NFS the
// folder itself stays until the lock was given back: see dropFolder.
func removeFolder(root *os.Root, name string) (err error) {
	// Where locks hold on one host only, its maker may still put files in.
	for range 3 {
		if err = emptyAndDrop(root, name); !errors.Is(err, unix.ENOTEMPTY) {
			break
		}
	}
	return err
}

func emptyAndDrop(root *os.Root, name string) error {
	sub, err := root.OpenRoot(name)
	if err != nil {
		return ignoreGone(err)
	}
	defer sub.Close()
	names, err := list(sub)
	if err != nil {
		return ignoreGone(err)
	}
	for _, entry := range names {
		if entry == lockName {
			continue
		}
		if err := sub.RemoveAll(entry); err != nil {
			return err
		}
	}
	return errors.Join(ignoreGone(sub.Remove(lockName)), dropFolder(root, name))
}

// dropFolder removes an empty folder, or one that is gone. A file that was removed
// while it is open stays in its folder on NFS, under a name of its own, until it is
// closed: then the folder is left to whoever closes it, or to the next sweep.
func dropFolder(root *os.Root, name string) error {
	err := root.Remove(name)
	if !errors.Is(err, unix.ENOTEMPTY) {
		return ignoreGone(err)
	}
	sub, openErr := root.OpenRoot(name)
	if openErr != nil {
		return ignoreGone(openErr)
	}
	defer sub.Close()
	names, listErr := list(sub)
	if listErr != nil || slices.ContainsFunc(names, func(entry string) bool { return !strings.HasPrefix(entry, openPrefix) }) {
		return errors.Join(err, listErr)
	}
	return nil
}

// openPrefix is how NFS names what was removed and is open.
const openPrefix = ".nfs"
