package blockdev

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/testenv"
)

func open(t *testing.T, node string) *os.File {
	t.Helper()
	f, err := os.Open(node)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func wantInUse(t *testing.T, c Connection, err error, says string) {
	t.Helper()
	if !errors.Is(err, ErrInUse) || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("error %v; want in use, by %s", err, says)
	}
	d, err := Find(t.Context(), System(), c)
	if err != nil {
		t.Fatalf("the device is not as before: %v", err)
	}
	s, err := readLoop(d.Node)
	if err != nil || s.has(unix.LO_FLAGS_AUTOCLEAR) {
		t.Errorf("the kernel will unbind it later: flags %#x, %v", s.info.Flags, err)
	}
}

func TestOpenDeviceIsNotDetached(t *testing.T) {
	c := newVolume(t, "vol1")
	d := mustAttach(t, c)
	f := open(t, d.Node)
	wantInUse(t, c, impatient().Detach(t.Context(), c), fmt.Sprintf("pid %d (blockdev.test)", os.Getpid()))
	f.Close()
	if err := impatient().Detach(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// QEMU opens a node in a /dev of its own.
func TestOpenerOfAnotherNodeIsSeen(t *testing.T) {
	c := newVolume(t, "vol1")
	d := mustAttach(t, c)
	var s unix.Stat_t
	if err := unix.Stat(d.Node, &s); err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(filepath.Dir(c.Path), "copy")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(s.Rdev)); err != nil {
		t.Fatal(err)
	}
	open(t, node)
	wantInUse(t, c, impatient().Detach(t.Context(), c), fmt.Sprintf("pid %d", os.Getpid()))
}

func TestMountedDeviceIsNotDetached(t *testing.T) {
	c := newVolume(t, "vol1")
	d := mustAttach(t, c)
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		testenv.Missing(t, "mkfs.ext4 (e2fsprogs)")
	}
	if out, err := exec.Command(mkfs, "-q", d.Node).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	if err := unix.Mount(d.Node, dir, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	err = impatient().Detach(t.Context(), c)
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	wantInUse(t, c, err, "mounted")
}

// Detach waits for one who closes the device in time.
func TestPassingOpenerIsWaitedFor(t *testing.T) {
	c := newVolume(t, "vol1")
	d := mustAttach(t, c)
	f := open(t, d.Node)
	l := newLoop(System())
	looks := 0
	err := awaitClose(t.Context(), d.Node, l.patience, func() (bool, error) {
		if looks++; looks == 2 { // the watch is set: from here on a closing is an event
			go f.Close()
		}
		err := busy(l.host, d.Node)
		return errors.Is(err, ErrInUse), err
	})
	if err != nil {
		t.Errorf("after %d looks: %v", looks, err)
	}
}

// Somebody opens the device after it was seen idle: the kernel then only
// promises to unbind it.
func TestOpenerInTheLastMoment(t *testing.T) {
	c := newVolume(t, "vol1")
	d := mustAttach(t, c)
	l := impatient()
	var f *os.File
	l.flush = func(node string) error { f = open(t, node); return nil }
	wantInUse(t, c, l.Detach(t.Context(), c), fmt.Sprintf("pid %d", os.Getpid()))
	f.Close()
	if backingOf(d.Node) == "" {
		t.Error("closing it made the device vanish")
	}
}

// … and closes it again in time.
func TestOpenerInTheLastMomentThatPasses(t *testing.T) {
	c := newVolume(t, "vol1")
	d := mustAttach(t, c)
	l := newLoop(System())
	w, err := newWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	ctx := atMost(t)
	var passing sync.WaitGroup
	l.flush = func(node string) error {
		f := open(t, node)
		// Before Detach goes on, whose closing of the device is the event.
		if err := w.add(node, closing); err != nil {
			return err
		}
		passing.Go(func() {
			_ = w.next(ctx) // the transport has opened it to unbind it
			f.Close()
		})
		return nil
	}
	if err := l.Detach(t.Context(), c); err != nil || boundTo(d.Node, c) {
		t.Errorf("%v; bound %v", err, boundTo(d.Node, c))
	}
	passing.Wait()
}

func TestFailedFlushKeepsTheDevice(t *testing.T) {
	c := newVolume(t, "vol1")
	mustAttach(t, c)
	l := impatient()
	l.flush = func(string) error { return unix.EIO }
	err := l.Detach(t.Context(), c)
	if !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "stays attached") {
		t.Errorf("%v", err)
	}
	if _, err := Find(t.Context(), System(), c); err != nil {
		t.Errorf("the device is gone: %v", err)
	}
}

func TestDetachWithoutTheFile(t *testing.T) {
	c := newVolume(t, "vol1")
	d := mustAttach(t, c)
	if err := os.RemoveAll(filepath.Dir(c.File)); err != nil {
		t.Fatal(err)
	}
	os.Remove(c.Path)
	if err := Detach(t.Context(), System(), c); err != nil || boundTo(d.Node, c) {
		t.Errorf("%v; bound %v", err, boundTo(d.Node, c))
	}
}

// A Detach that was cut off may have left the device to unbind itself when
// somebody closes it: the next Attach must not hand it over like that.
func TestAttachKeepsDeviceThatWouldVanish(t *testing.T) {
	c := newVolume(t, "vol1")
	d := mustAttach(t, c)
	f := open(t, d.Node)
	if err := newLoop(System()).requestClear(d.Node, mark(c)); err != nil {
		t.Fatal(err)
	}
	if again := mustAttach(t, c); again != d {
		t.Errorf("%+v, want %+v", again, d)
	}
	f.Close()
	if _, err := Find(t.Context(), System(), c); err != nil {
		t.Errorf("the device vanished: %v", err)
	}
}
