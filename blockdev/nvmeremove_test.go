package blockdev

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNVMeGrow(t *testing.T) {
	f := newFakeNVMe(t)
	dir := f.controller(portalA, testHostNQN, "live")
	c := f.connection(portalA)
	if _, err := f.transport().Grow(t.Context(), c); !errors.Is(err, ErrNotAttached) {
		t.Errorf("not there: %v", err)
	}
	node := f.volume()
	c.SizeBytes = 2 * mib
	f.say(node, Namespace{NGUID: testNGUID, SizeBytes: 2 * mib})
	_, err := f.transport().Grow(briefly(t), c)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1048576 bytes large, and it has 2097152") {
		t.Errorf("the kernel does not notice: %v", err)
	}
	write(t, dir+"/rescan_controller", "")
	f.kernel.Go(func() {
		f.awaitRescan(dir)
		f.set(f.dirOf("nvme0n1"), "size", "4096")
	})
	if d, err := f.transport().Grow(t.Context(), c); err != nil || d.SizeBytes != 2*mib {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestNVMeFlush(t *testing.T) {
	f := newFakeNVMe(t)
	tr := f.transport()
	var flushed []string
	tr.flush = func(node string) error { flushed = append(flushed, filepath.Base(node)); return nil }
	c := f.connection(portalA)
	if err := tr.Flush(t.Context(), c); err != nil || flushed != nil {
		t.Errorf("nothing there: %v, %v", err, flushed)
	}
	f.controller(portalA, testHostNQN, "live")
	f.namespace("nvme0n2", 2, otherNGUID, mib)
	f.volume()
	write(t, f.h.Sys+"/block/nvme0n1/holders/md0", "")
	if err := tr.Flush(t.Context(), c); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "md0") || flushed != nil {
		t.Errorf("held: %v, %v", err, flushed)
	}
	f.must(os.RemoveAll(f.h.Sys + "/block"))
	if err := tr.Flush(t.Context(), c); err != nil || !slices.Equal(flushed, []string{"nvme0n1"}) {
		t.Errorf("%v, flushed %v", err, flushed)
	}
	tr.flush = func(string) error { return unix.EIO }
	if err := tr.Flush(t.Context(), c); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "vm1") {
		t.Errorf("%v", err)
	}
}

func TestNVMeGone(t *testing.T) {
	f := newFakeNVMe(t)
	dir := f.controller(portalA, testHostNQN, "live")
	c := f.connection()
	node := f.volume()
	err := f.transport().Gone(briefly(t), c)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), node+" is still here") {
		t.Errorf("%v", err)
	}
	if got := f.rescanned(); len(got) != 1 {
		t.Errorf("rescanned %v", got)
	}
	f.kernel.Go(func() { // node and link go before the kernel's folder
		f.must(os.Remove(node), os.Remove(c.Path))
	})
	if err := f.transport().Gone(t.Context(), c); err != nil {
		t.Error(err)
	}
	f.must(os.RemoveAll(f.dirOf("nvme0n1")))
	f.link("nvme0n1")
	if err := f.transport().Gone(briefly(t), c); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "its link") {
		t.Errorf("link left: %v", err)
	}
	f.must(os.RemoveAll(dir), os.Remove(c.Path))
	if err := f.transport().Gone(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestNVMeDetachIsRefused(t *testing.T) {
	f := newFakeNVMe(t)
	if err := f.transport().Detach(t.Context(), f.connection(portalA)); err == nil || !strings.Contains(err.Error(), "Flush") {
		t.Errorf("%v", err)
	}
}

func TestNVMeIsARegisteredRemover(t *testing.T) {
	tr, err := For(System(), NVMeTCP)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := tr.(Remover); !ok {
		t.Error("it is no Remover")
	}
	if _, ok := tr.(Resizer); !ok {
		t.Error("it is no Resizer")
	}
}
