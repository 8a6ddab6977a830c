package blockdev

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// changing are the events after which something in a folder of devices may be
// there, be gone, or be different.
const changing = appearing | unix.IN_DELETE | unix.IN_MOVED_FROM

// wakeups rings when something happened to the NVMe devices of a host, or in
// folders. Who is woken must look again at everything.
type wakeups struct {
	bell    chan struct{} // holds one ring
	broken  chan error    // a source that rings no more
	kernel  *uevents
	folders *watcher       // nil: none is watched
	watched map[string]int // folder → watch
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newWakeups() (*wakeups, error) {
	kernel, err := newUevents()
	if err != nil {
		return nil, err
	}
	w := &wakeups{bell: make(chan struct{}, 1), broken: make(chan error, 2), kernel: kernel, watched: map[string]int{}}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.listen(kernel.next)
	return w, nil
}

func (w *wakeups) listen(next func(context.Context) error) {
	w.running.Go(func() {
		err := next(w.ctx)
		for ; err == nil; err = next(w.ctx) {
			w.ring()
		}
		w.broken <- err
	})
}

func (w *wakeups) ring() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// watch rings from now on for changes in these folders, of which some may be
// missing: call it again after each look. It says whether it began to watch
// one, in which anything may have happened since that look.
func (w *wakeups) watch(folders ...string) (began bool, err error) {
	if w.folders == nil && len(folders) > 0 {
		if w.folders, err = newWatcher(); err != nil {
			return false, err
		}
		w.listen(w.folders.next)
	}
	for _, f := range folders {
		id, err := w.folders.addID(f, changing)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return began, err
		}
		began = began || w.watched[f] != id
		w.watched[f] = id
	}
	return began, nil
}

func (w *wakeups) close() {
	w.stop()
	w.running.Wait()
	if w.folders != nil {
		w.folders.close()
	}
	w.kernel.close()
}

// udevSpeaksHere says whether udev's messages reach this process: it runs, and
// in the network namespace of process 1, as we do.
func udevSpeaksHere(h Host) bool {
	if _, err := os.Stat(filepath.Join(h.Run, "udev/control")); err != nil {
		return false
	}
	ours, err := os.Stat(filepath.Join(h.Proc, "self/ns/net"))
	first, ferr := os.Stat(filepath.Join(h.Proc, "1/ns/net"))
	return err == nil && ferr == nil && os.SameFile(ours, first)
}
