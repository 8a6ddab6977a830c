package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rescans hears when a host writes to rescan_controller.
type rescans struct {
	queue   *os.File
	do      func(controllerDir string)
	running sync.WaitGroup

	mu   sync.Mutex
	dirs map[int32]string // watch → controller
}

func watchRescans(do func(controllerDir string)) (*rescans, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch for rescans: %w", err)
	}
	r := &rescans{queue: os.NewFile(uintptr(fd), "inotify"), do: do, dirs: map[int32]string{}}
	r.running.Go(r.serve)
	return r, nil
}

func (r *rescans) add(c controller) error {
	raw, err := r.queue.SyscallConn()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var watch int
	var added error
	err = raw.Control(func(fd uintptr) {
		watch, added = unix.InotifyAddWatch(int(fd), filepath.Join(c.dir, "rescan_controller"), unix.IN_CLOSE_WRITE)
	})
	if err := errors.Join(err, added); err != nil {
		return fmt.Errorf("watch %s: %w", c.dir, err)
	}
	r.dirs[int32(watch)] = c.dir
	return nil
}

func (r *rescans) serve() {
	buffer := make([]byte, 4096)
	for {
		n, err := r.queue.Read(buffer)
		if err != nil {
			return // closed
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&buffer[at]))
			at += unix.SizeofInotifyEvent + int(event.Len)
			r.mu.Lock()
			dir := r.dirs[event.Wd]
			if event.Mask&unix.IN_IGNORED != 0 {
				delete(r.dirs, event.Wd)
			}
			r.mu.Unlock()
			if event.Mask&unix.IN_CLOSE_WRITE != 0 {
				r.do(dir)
			}
		}
	}
}

func (r *rescans) close() error {
	err := r.queue.Close()
	r.running.Wait()
	return err
}
