package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watcher wakes its owner when something happens to the files that it was
// given. It says no more than that: what is true now must be read again. It
// speaks inotify itself because that can report the closing of a device node,
// and because a watch of /dev must not wake for every byte that somebody
// writes to a terminal there.
type watcher struct {
	queue *os.File
}

// The events after which a path may exist that did not before.
const appearing = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// The events after which a device may be idle.
const closing = unix.IN_CLOSE

func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify (see sysctl fs.inotify.max_user_instances): %w", err)
	}
	return &watcher{os.NewFile(uintptr(fd), "inotify")}, nil
}

// add is idempotent.
func (w *watcher) add(path string, events uint32) error {
	_, err := w.addID(path, events)
	return err
}

// addID also returns the watch, which is another one if path is another file
// than before.
func (w *watcher) addID(path string, events uint32) (int, error) {
	id, err := unix.InotifyAddWatch(int(w.fd()), path, events)
	if err != nil {
		if errors.Is(err, unix.ENOSPC) {
			err = fmt.Errorf("%w (raise sysctl fs.inotify.max_user_watches)", err)
		}
		return 0, fmt.Errorf("watch %s: %w", path, err)
	}
	return id, nil
}

// fd reads the descriptor without os.File.Fd, which would make reading block
// beyond every deadline.
func (w *watcher) fd() (fd uintptr) {
	raw, err := w.queue.SyscallConn()
	if err == nil {
		_ = raw.Control(func(n uintptr) { fd = n })
	}
	return fd
}

// next returns after at least one event, or with the cause of ctx's end.
func (w *watcher) next(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = w.queue.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var events [4096]byte
	_, err := w.queue.Read(events[:])
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (w *watcher) close() { _ = w.queue.Close() }
