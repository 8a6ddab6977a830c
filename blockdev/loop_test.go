package blockdev

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAttachFindDetach(t *testing.T) {
	c := newVolume(t, "vol1")
	if _, err := Find(t.Context(), System(), c); !errors.Is(err, ErrNotAttached) {
		t.Fatalf("before: %v", err)
	}
	d := mustAttach(t, c)
	if d.Path != c.Path || d.SizeBytes != mib || d.Identity != c.Identity {
		t.Errorf("device %+v", d)
	}
	if node, err := filepath.EvalSymlinks(d.Path); err != nil || node != d.Node {
		t.Errorf("%s leads to %s, %v; want %s", d.Path, node, err, d.Node)
	}
	again := mustAttach(t, c)
	found, err := Find(t.Context(), System(), c)
	if again != d || found != d || err != nil {
		t.Errorf("again %+v, found %+v, %v; want %+v", again, found, err, d)
	}
	for range 2 {
		if err := Detach(t.Context(), System(), c); err != nil {
			t.Fatal(err)
		}
	}
	if boundTo(d.Node, c) {
		t.Errorf("%s is still bound to %s", d.Node, c.File)
	}
	if _, err := os.Lstat(c.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link: %v", err)
	}
}

func TestWrittenDataIsInTheFile(t *testing.T) {
	c := newVolume(t, "vol1")
	d := mustAttach(t, c)
	want := bytes.Repeat([]byte("volbridge"), 1000)
	f, err := os.OpenFile(d.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(want, 4096); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := Detach(t.Context(), System(), c); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(c.File)
	if err != nil || !bytes.Equal(data[4096:4096+len(want)], want) {
		t.Errorf("the data did not reach the file: %v", err)
	}
}

// A crash between binding and linking, and one between unlinking and
// unbinding, leave a device without a link.
func TestDeviceWithoutLinkIsFound(t *testing.T) {
	for _, end := range []string{"attach", "detach"} {
		t.Run(end, func(t *testing.T) {
			c := newVolume(t, "vol1")
			d := mustAttach(t, c)
			os.Remove(c.Path)
			if _, err := Find(t.Context(), System(), c); !errors.Is(err, ErrNotAttached) {
				t.Errorf("Find without link: %v", err)
			}
			if end == "attach" {
				if again := mustAttach(t, c); again != d {
					t.Errorf("%+v, want the same device as before, %+v", again, d)
				}
				return
			}
			if err := Detach(t.Context(), System(), c); err != nil || boundTo(d.Node, c) {
				t.Errorf("detach: %v, still bound: %v", err, boundTo(d.Node, c))
			}
		})
	}
}

func TestDetachTakesEveryDeviceOfOurs(t *testing.T) {
	c := newVolume(t, "vol1")
	first := mustAttach(t, c)
	raw, stat, err := openRaw(c.File)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	second, err := newLoop(System()).bind(t.Context(), c, raw, stat)
	if err != nil || second.Node == first.Node {
		t.Fatalf("%+v, %v", second, err)
	}
	if err := Detach(t.Context(), System(), c); err != nil {
		t.Fatal(err)
	}
	if a, b := boundTo(first.Node, c), boundTo(second.Node, c); a || b {
		t.Errorf("still bound: the first %v, the second %v", a, b)
	}
}

func TestStaleLinkIsReplaced(t *testing.T) {
	other := newVolume(t, "other")
	foreign := mustAttach(t, other)
	for _, target := range []string{"/dev/loop999999", foreign.Node, "/dev/null"} {
		t.Run(filepath.Base(target), func(t *testing.T) {
			c := newVolume(t, "vol1")
			if err := makeLink(c.Path, target); err != nil {
				t.Fatal(err)
			}
			if d := mustAttach(t, c); d.Node == target {
				t.Errorf("handed over %s", target)
			}
			if err := Detach(t.Context(), System(), c); err != nil {
				t.Fatal(err)
			}
			if err := makeLink(c.Path, target); err != nil {
				t.Fatal(err)
			}
			if err := Detach(t.Context(), System(), c); err != nil {
				t.Errorf("detach with a stale link: %v", err)
			}
			if _, err := os.Lstat(c.Path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the stale link is still there: %v", err)
			}
		})
	}
	if _, err := Find(t.Context(), System(), other); err != nil {
		t.Errorf("the other volume's device was touched: %v", err)
	}
}

func TestFindTellsWrongDevices(t *testing.T) {
	other := newVolume(t, "other")
	foreign := mustAttach(t, other)
	c := newVolume(t, "vol1")
	if err := makeLink(c.Path, foreign.Node); err != nil {
		t.Fatal(err)
	}
	_, err := Find(t.Context(), System(), c)
	if !errors.Is(err, ErrWrongDevice) || !strings.Contains(err.Error(), foreign.Node) {
		t.Errorf("link to another volume's device: %v", err)
	}
	os.Remove(c.Path)
	if err := os.WriteFile(c.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), System(), c); !errors.Is(err, ErrWrongDevice) {
		t.Errorf("a file where the link should be: %v", err)
	}
	if _, err := Attach(t.Context(), System(), c); !errors.Is(err, ErrWrongDevice) {
		t.Errorf("attach over a file: %v", err)
	}
	if _, err := os.Stat(c.Path); err != nil {
		t.Errorf("the file was removed: %v", err)
	}
}

// Two hosts that share a kernel each have a device of their own, and neither
// touches the other's.
func TestOtherHostsDeviceIsNotOurs(t *testing.T) {
	a := newVolume(t, "vol1")
	b := a
	b.HostID = "host-2"
	da := mustAttach(t, a)
	if err := os.Remove(a.Path); err != nil { // each host has its own /dev/volbridge
		t.Fatal(err)
	}
	db := mustAttach(t, b)
	if da.Node == db.Node {
		t.Fatalf("both hosts have %s", da.Node)
	}
	if err := Detach(t.Context(), System(), b); err != nil {
		t.Fatal(err)
	}
	if backingOf(da.Node) == "" || boundTo(db.Node, b) {
		t.Errorf("bound: %q and %q; want only the first", backingOf(da.Node), backingOf(db.Node))
	}
}

func TestVerification(t *testing.T) {
	t.Run("size", func(t *testing.T) {
		c := newVolume(t, "vol1")
		c.SizeBytes = mib + 512
		_, err := Attach(t.Context(), System(), c)
		if !errors.Is(err, ErrWrongDevice) || !strings.Contains(err.Error(), "it has 1048576 bytes, wanted 1049088") {
			t.Errorf("attach: %v", err)
		}
		if left, err := newLoop(System()).search(c); len(left) != 0 || err != nil {
			t.Errorf("a refused device stayed bound: %v, %v", left, err)
		}
		c.SizeBytes = mib
		mustAttach(t, c)
		c.SizeBytes = 2 * mib
		if _, err := Find(t.Context(), System(), c); !errors.Is(err, ErrWrongDevice) {
			t.Errorf("find: %v", err)
		}
	})
	t.Run("replaced file", func(t *testing.T) {
		c := newVolume(t, "vol1")
		mustAttach(t, c)
		if err := os.WriteFile(c.File+".new", make([]byte, mib), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(c.File+".new", c.File); err != nil {
			t.Fatal(err)
		}
		for _, call := range []func(context.Context, Host, Connection) (Device, error){Find, Attach} {
			if _, err := call(t.Context(), System(), c); !errors.Is(err, ErrWrongDevice) || !strings.Contains(err.Error(), "inode") {
				t.Errorf("%v", err)
			}
		}
		if err := Detach(t.Context(), System(), c); err != nil {
			t.Errorf("detach: %v", err)
		}
	})
	t.Run("cache instead of direct I/O", func(t *testing.T) {
		c := newVolume(t, "vol1")
		d := mustAttach(t, c)
		f, err := os.OpenFile(d.Node, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_DIRECT_IO, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Find(t.Context(), System(), c); !errors.Is(err, ErrWrongDevice) || !strings.Contains(err.Error(), "direct I/O") {
			t.Errorf("%v", err)
		}
	})
}

func TestFileSystemWithoutDirectIOIsRefused(t *testing.T) {
	c := newVolume(t, "vol1")
	dir := filepath.Dir(c.File)
	if err := unix.Mount("none", dir, "ramfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	if err := os.WriteFile(c.File, make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Attach(t.Context(), System(), c)
	if err == nil || !strings.Contains(err.Error(), "file system ramfs cannot do direct I/O") {
		t.Errorf("%v", err)
	}
	if left, err := newLoop(System()).search(c); len(left) != 0 || err != nil {
		t.Errorf("left bound: %v, %v", left, err)
	}
}

func TestRawFileMustBeWhereItIs(t *testing.T) {
	for _, bad := range []struct {
		name string
		make func(c Connection) error
		says string
	}{
		{"gone", func(c Connection) error { return os.Remove(c.File) }, "is the pool's file system mounted?"},
		{"link", func(c Connection) error {
			return errors.Join(os.Rename(c.File, c.File+"2"), os.Symlink(c.File+"2", c.File))
		}, "it is a link"},
		{"link as folder", func(c Connection) error {
			d := filepath.Dir(c.File)
			return errors.Join(os.Rename(d, d+"2"), os.Symlink(d+"2", d))
		}, "it is a link"},
		{"device", func(c Connection) error {
			return errors.Join(os.Remove(c.File), unix.Mknod(c.File, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		}, "no regular file"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			c := newVolume(t, "vol1")
			if err := bad.make(c); err != nil {
				t.Fatal(err)
			}
			if _, err := Attach(t.Context(), System(), c); err == nil || !strings.Contains(err.Error(), bad.says) {
				t.Errorf("error %v; want %q", err, bad.says)
			}
		})
	}
}

func TestGrow(t *testing.T) {
	c := newVolume(t, "vol1")
	if _, err := Grow(t.Context(), System(), c); !errors.Is(err, ErrNotAttached) {
		t.Errorf("grow before attach: %v", err)
	}
	mustAttach(t, c)
	if err := os.Truncate(c.File, 3*mib); err != nil {
		t.Fatal(err)
	}
	c.SizeBytes = 3 * mib
	for range 2 {
		if d, err := Grow(t.Context(), System(), c); err != nil || d.SizeBytes != 3*mib {
			t.Errorf("%+v, %v", d, err)
		}
	}
}

func TestAttachInParallel(t *testing.T) {
	var all sync.WaitGroup
	for range 16 {
		c := newVolume(t, "vol1")
		all.Go(func() {
			if _, err := Attach(t.Context(), System(), c); err != nil {
				t.Error(err)
				return
			}
			if err := Detach(t.Context(), System(), c); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestEndedContextChangesNothing(t *testing.T) {
	c := newVolume(t, "vol1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Attach(ctx, System(), c); !errors.Is(err, context.Canceled) {
		t.Errorf("attach: %v", err)
	}
	if left, _ := newLoop(System()).search(c); len(left) != 0 {
		t.Errorf("left bound: %v", left)
	}
	mustAttach(t, c)
	if err := Detach(ctx, System(), c); !errors.Is(err, context.Canceled) {
		t.Errorf("detach: %v", err)
	}
	if _, err := Find(t.Context(), System(), c); err != nil {
		t.Errorf("it is no longer attached: %v", err)
	}
}

func BenchmarkAttachDetach(b *testing.B) {
	c := newVolume(b, "vol1")
	for b.Loop() {
		mustAttach(b, c)
		if err := Detach(b.Context(), System(), c); err != nil {
			b.Fatal(err)
		}
	}
}
