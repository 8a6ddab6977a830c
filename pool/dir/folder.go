package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/pool"
)

const markerName = "volbridge-pool.json"

// format is the version of everything that is written here.
const format = 1

// marker is the file that makes a directory a pool.
type marker struct {
	Format  int       `json:"format"`
	UUID    string    `json:"uuid"`
	Created time.Time `json:"created"`
}

// openDir opens the pool's directory, whether it is a pool yet or not.
func (b *backend) openDir() (*os.Root, error) {
	root, err := os.OpenRoot(b.path)
	if err != nil {
		return nil, explain(fmt.Errorf("pool directory: %w", err))
	}
	if err := b.checkMount(root); err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// openPool opens the directory of a pool that was made; a directory without
// the marker gives pool.ErrNoPool, as nothing can be said about what it holds.
func (b *backend) openPool() (*os.Root, error) {
	root, err := b.openDir()
	if err != nil {
		return nil, err
	}
	if err := readMarker(root); err != nil {
		root.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s has no %s; mount the file system that belongs there, "+
				"or, for a new pool, run `volbridge pool init %s`", pool.ErrNoPool, b.path, markerName, b.name)
		}
		return nil, err
	}
	return root, nil
}

func readMarker(root *os.Root) error {
	var m marker
	return readJSON(root, markerName, &m)
}

// mark makes the directory a pool unless it is one. Of several who try at once
// the kernel lets one win, and the others find its pool.
func (b *backend) mark(ctx context.Context, root *os.Root) error {
	for ctx.Err() == nil {
		err := readMarker(root)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := b.checkEmpty(root); errors.Is(err, fs.ErrExist) {
			continue // another process has just made the pool
		} else if err != nil {
			return err
		}
		m := marker{Format: format, UUID: uuid.NewString(), Created: b.now().UTC()}
		if err := linkJSON(root, markerName, m); err != nil && !errors.Is(err, fs.ErrExist) {
			return explain(fmt.Errorf("make %s a pool: %w", b.path, err))
		}
	}
	return context.Cause(ctx)
}

// checkEmpty refuses a directory that somebody uses for something else. It
// returns fs.ErrExist if the directory is a pool by now.
func (b *backend) checkEmpty(root *os.Root) error {
	names, err := list(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == "lost+found" || strings.HasPrefix(name, tempPrefix) {
			continue
		}
		// A listing is not one moment: it may show a volume without the marker
		// that was made before it.
		if _, err := root.Lstat(markerName); err == nil {
			return fs.ErrExist
		}
		return fmt.Errorf("%w: %s holds other files (%q) and is not made one; give the pool a directory of its own",
			pool.ErrNoPool, b.path, name)
	}
	return nil
}

// checkMount refuses, where the setting asks for that, a directory on which
// nothing is mounted: volumes made there would vanish below the next mount.
func (b *backend) checkMount(root *os.Root) error {
	if !b.mountpoint {
		return nil
	}
	f, err := root.Open(".")
	if err != nil {
		return explain(err)
	}
	defer f.Close()
	var s unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &s); err != nil {
		return explain(fmt.Errorf("stat %s: %w", b.path, err))
	}
	if s.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return fmt.Errorf("the kernel cannot say whether %s is a mount point; it needs to be 5.8 or newer for mountpoint = true", b.path)
	}
	if s.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return fmt.Errorf("nothing is mounted on %s, and the pool's settings say mountpoint = true: mount it", b.path)
	}
	return nil
}
