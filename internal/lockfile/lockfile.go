// Package lockfile is an exclusive lock between processes: flock on a file.
// The kernel drops it when its holder dies, however that happens, so there is
// no stale lock to judge.
package lockfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld is what TryAcquire returns for a lock that somebody holds.
var ErrHeld = errors.New("lock is held")

// Opener opens the lock file, for reading and writing, and makes it if it is
// not there. It is called again once the lock is had, to see whether the file
// is still the one at its place.
type Opener func() (*os.File, error)

// Acquire waits until this process has the lock on path or ctx ends. The file
// is made with mode 0600, missing parent folders with 0700; it stays when the
// lock is given back, because removing it would race with those who wait.
// Two acquisitions in one process exclude each other too. The error says what
// was waited for and who holds it.
func Acquire(ctx context.Context, path string) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return AcquireFunc(ctx, path, at(path))
}

// AcquireFunc is Acquire for a file that open opens and whose folder is not
// made; name is for errors.
func AcquireFunc(ctx context.Context, name string, open Opener) (release func() error, err error) {
	return acquire(name, open, func(f *os.File) error { return wait(ctx, name, f) })
}

// TryAcquire takes the lock on path if nobody holds it, otherwise it returns
// ErrHeld at once: so one can ask whether the holder lives. Folders are not
// made.
func TryAcquire(path string) (release func() error, err error) {
	return TryAcquireFunc(path, at(path))
}

// TryAcquireFunc is TryAcquire for a file that open opens.
func TryAcquireFunc(name string, open Opener) (release func() error, err error) {
	return acquire(name, open, func(f *os.File) error {
		err := flock(f, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			defer f.Close()
			return fmt.Errorf("lock %s: %w%s", name, ErrHeld, holder(f))
		}
		return closeOn(err, name, f)
	})
}

func at(path string) Opener {
	return func() (*os.File, error) {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	}
}

// acquire locks the file that open gives until the locked file is the one
// that is at its place: while we waited it may have been removed or replaced,
// and a lock on a file that nobody else can open excludes nobody. lock closes
// the file, at once or later, when it returns an error.
func acquire(name string, open Opener, lock func(*os.File) error) (func() error, error) {
	for {
		f, err := open()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if err := lock(f); err != nil {
			return nil, err
		}
		same, err := inPlace(f, open)
		if same {
			sign(f)
			return releaser(name, f), nil
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
}

// Folder waits until this process has the lock on a folder that is there, or
// ctx ends. No file is made for it.
func Folder(ctx context.Context, path string) (release func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := wait(ctx, path, f); err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

func inPlace(f *os.File, open Opener) (bool, error) {
	again, err := open()
	if err != nil {
		return false, err
	}
	defer again.Close()
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := again.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(mine, now), nil
}

// releaser gives the lock back once. Closing is what unlocks; the holder's
// name is wiped first so that it is never read as the next one's.
func releaser(name string, f *os.File) func() error {
	return sync.OnceValue(func() error {
		wipe := f.Truncate(0)
		if err := errors.Join(wipe, f.Close()); err != nil {
			return fmt.Errorf("unlock %s: %w", name, err)
		}
		return nil
	})
}

// wait takes the lock on f or closes f. flock cannot be given a deadline, so
// it waits in a goroutine; if ctx ends first, that goroutine gives the lock
// back as soon as it gets it.
func wait(ctx context.Context, name string, f *os.File) error {
	err := flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return closeOn(err, name, f)
	}
	started := time.Now()
	got := make(chan error, 1)
	go func() { got <- flock(f, unix.LOCK_EX) }()
	select {
	case err := <-got:
		return closeOn(err, name, f)
	case <-ctx.Done():
		who := holder(f)
		go func() { <-got; f.Close() }()
		return fmt.Errorf("waited %s for the lock %s%s: %w",
			time.Since(started).Round(time.Millisecond), name, who, context.Cause(ctx))
	}
}

func closeOn(err error, name string, f *os.File) error {
	if err == nil {
		return nil
	}
	f.Close()
	return fmt.Errorf("lock %s: %w", name, err)
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
