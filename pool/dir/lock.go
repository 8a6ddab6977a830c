package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/lockfile"
)

// lock takes the volume's lock, or gives pool.ErrNotFound if the volume goes
// away meanwhile. The file is never made here, so nothing appears in a folder
// that is no volume.
func lock(ctx context.Context, root *os.Root, name string) (release func() error, err error) {
	for ctx.Err() == nil {
		release, err = lockfile.AcquireFunc(ctx, filepath.Join(root.Name(), name, lockName), opener(root, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return release, explain(err)
		}
		if lacking := lacksLock(root, name); lacking != nil {
			return nil, lacking
		}
	}
	return nil, context.Cause(ctx)
}

// lacksLock finds out why a lock file was not there. It returns nil if now it
// is: then the volume was deleted and another one of its name was made.
func lacksLock(root *os.Root, name string) error {
	f, err := openFolder(root, name)
	if err != nil {
		return err
	}
	defer f.close()
	if _, err := f.root.Lstat(lockName); !errors.Is(err, fs.ErrNotExist) {
		return explain(err)
	}
	if err := f.inPlace(root); err != nil {
		return err
	}
	return damaged{fmt.Errorf("%s is missing; make it again with touch", f.path(lockName))}
}

func opener(root *os.Root, name string) lockfile.Opener {
	return func() (*os.File, error) {
		return root.OpenFile(filepath.Join(name, lockName), os.O_RDWR|unix.O_NONBLOCK, 0)
	}
}

// withVolume runs f with the volume under its lock.
func withVolume(ctx context.Context, root *os.Root, name string, f func(*volume) error) (err error) {
	before, err := openVolume(root, name)
	if err != nil {
		return err
	}
	before.close()
	release, err := lock(ctx, root, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	v, err := openVolume(root, name)
	if err != nil {
		return err
	}
	defer v.close()
	return f(v)
}
