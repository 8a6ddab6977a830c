package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab/drbdsim"
)

// drbdHost is a host with a played DRBD resource r0, whose device is a loop
// device in truth: one can open it and ask for its size.
type drbdHost struct {
	*testing.T
	drbdsim.Cluster
	drbd
	conn  Connection
	minor int
}

func newDRBDHost(t *testing.T) *drbdHost {
	t.Helper()
	testenv.NeedRoot(t)
	minor := 0
	loop := mustAttach(t, newVolume(t, "replica"))
	if _, err := fmt.Sscanf(filepath.Base(loop.Node), "loop%d", &minor); err != nil {
		t.Fatal(err)
	}
	c, err := drbdsim.New(t.TempDir(), os.Args[0], "kvm01", "kvm02")
	if err := errors.Join(err, c.Add("r0", minor, mib, "kvm01", "kvm02")); err != nil {
		t.Fatal(err)
	}
	h := &drbdHost{T: t, Cluster: c, minor: minor}
	h.drbd = newDRBD(Host{Sys: c.Sys("kvm01"), Dev: t.TempDir(), DRBDTools: c.Tools("kvm01")})
	h.major, h.patience = loopMajor, 50*time.Millisecond
	h.conn = Connection{
		Protocol: DRBD, Pool: "p", Volume: "r0", HostID: "h", SizeBytes: mib, Identity: DRBDIdentity("r0", 0),
		Path: h.link("r0", 0), DRBD: &DRBDResource{Resource: "r0", Minor: -1},
	}
	h.change(func(me, _ *drbdsim.Replica) { me.Role = "Primary" })
	return h
}

// change changes the replica of this host, and of the peer.
func (h *drbdHost) change(f func(me, peer *drbdsim.Replica)) {
	h.Helper()
	h.must(h.Change(func(s *drbdsim.State) error {
		f(s.Resources["r0"].Hosts["kvm01"], s.Resources["r0"].Hosts["kvm02"])
		return nil
	}))
}

func (h *drbdHost) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *drbdHost) nodePath() string {
	return filepath.Join(h.host.Dev, fmt.Sprintf("drbd%d", h.minor))
}

// makeNode makes the kernel's node.
func (h *drbdHost) makeNode() {
	h.Helper()
	h.must(unix.Mknod(h.nodePath(), unix.S_IFBLK|0o600, int(unix.Mkdev(loopMajor, uint32(h.minor)))))
}

// makeLink makes udev's link.
func (h *drbdHost) makeLink(node string) {
	h.Helper()
	h.must(errors.Join(os.MkdirAll(filepath.Dir(h.conn.Path), 0o755), os.Symlink(node, h.conn.Path)))
}

func (h *drbdHost) there() *drbdHost {
	h.Helper()
	h.makeNode()
	h.makeLink(fmt.Sprintf("../../../drbd%d", h.minor))
	return h
}

func (h *drbdHost) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(h.Context(), d)
	h.Cleanup(cancel)
	return ctx
}

// untilItWaits ends when the transport begins to wait. Call it before the
// transport's method, which works on a copy.
func (h *drbdHost) untilItWaits() context.Context {
	ctx, cancel := context.WithCancel(h.within(20 * time.Second))
	h.waits = cancel
	return ctx
}

func TestDRBDAttach(t *testing.T) {
	h := newDRBDHost(t).there()
	for range 2 {
		d, err := h.Attach(t.Context(), h.conn)
		h.must(err)
		if want := (Device{Path: h.conn.Path, Node: h.nodePath(), Identity: "r0/0", SizeBytes: mib}); d != want {
			t.Errorf("%+v, want %+v", d, want)
		}
		found, err := h.Find(t.Context(), h.conn)
		if found != d || err != nil {
			t.Errorf("found %+v, %v", found, err)
		}
	}
	if err := h.Detach(t.Context(), h.conn); err == nil {
		t.Error("detached")
	}
}

// TestDRBDRefusals: one thing is wrong at a time.
func TestDRBDRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(h *drbdHost)
		want  string
		is    error
	}{
		"another size":         {func(h *drbdHost) { h.conn.SizeBytes += 512 }, "has 1048576 bytes, wanted 1049088", ErrWrongDevice},
		"another minor":        {func(h *drbdHost) { h.conn.DRBD.Minor = h.minor + 1 }, "wanted", ErrWrongDevice},
		"node of another":      {func(h *drbdHost) { h.major++ }, "and minor", ErrWrongDevice},
		"link to another":      {func(h *drbdHost) { h.must(os.Remove(h.conn.Path)); h.makeLink("/dev/null") }, "/dev/null", ErrWrongDevice},
		"link is a file":       {func(h *drbdHost) { h.must(os.Remove(h.conn.Path)); write(h.T, h.conn.Path, "") }, "no link", ErrWrongDevice},
		"inconsistent":         {func(h *drbdHost) { h.change(func(me, _ *drbdsim.Replica) { me.Disk = "Inconsistent" }) }, "Inconsistent", nil},
		"standalone":           {func(h *drbdHost) { h.change(func(me, _ *drbdsim.Replica) { me.StandAlone = true }) }, "drbdadm connect r0", nil},
		"diskless and alone":   {func(h *drbdHost) { h.change(func(me, _ *drbdsim.Replica) { me.Disk, me.Cut = "Diskless", true }) }, "no disk", nil},
		"arrives from nowhere": {func(h *drbdHost) { h.conn.DRBD.Arriving = true }, "no peer that is Primary", nil},
		"something on top": {func(h *drbdHost) {
			write(h.T, fmt.Sprintf("%s/block/drbd%d/holders/dm-4", h.host.Sys, h.minor), "")
		}, "dm-4", ErrInUse},
		"the tool fails":   {func(h *drbdHost) { h.must(h.Arm(1, drbdsim.Fail)) }, "it broke", nil},
		"the tool lies":    {func(h *drbdHost) { h.must(h.Arm(1, drbdsim.Nonsense)) }, "supported?", nil},
		"not a connection": {func(h *drbdHost) { h.conn.DRBD = nil }, "does not name", nil},
		"path of another":  {func(h *drbdHost) { h.conn.Path = "/dev/sda" }, "/dev/sda", nil},
		"identity":         {func(h *drbdHost) { h.conn.Identity = "r1/0" }, "r1/0", nil},
		"name climbs":      {func(h *drbdHost) { h.conn.DRBD.Resource = "../r0" }, "../r0", nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := newDRBDHost(t).there()
			h.T = t
			c.spoil(h)
			ctx := h.untilItWaits()
			d, err := h.Attach(ctx, h.conn)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("attached %+v, %v", d, err)
			}
		})
	}
}

// TestDRBDClosed: a device that may not be opened yet is looked at, and not opened.
func TestDRBDClosed(t *testing.T) {
	h := newDRBDHost(t).there()
	h.conn.DRBD.Closed = true
	h.change(func(me, peer *drbdsim.Replica) { me.Role, peer.Role = "Secondary", "Primary" })
	size := fmt.Sprintf("%s/dev/block/%d:%d/size", h.host.Sys, loopMajor, h.minor)
	if _, err := h.Find(t.Context(), h.conn); !errors.Is(err, ErrNotAttached) {
		t.Errorf("without a size: %v", err)
	}
	f, err := os.OpenFile(h.nodePath(), os.O_RDONLY|unix.O_EXCL, 0) // so nobody else can open it like that
	h.must(err)
	defer f.Close()
	write(t, size, "2048\n")
	d, err := h.Attach(t.Context(), h.conn)
	h.must(err)
	if want := (Device{Path: h.conn.Path, Node: h.nodePath(), Identity: "r0/0", SizeBytes: mib}); d != want {
		t.Errorf("%+v, want %+v", d, want)
	}
	for text, wrong := range map[string]bool{"2049\n": true, "0\n": true, "-1\n": false, "many\n": false} {
		write(t, size, text)
		if _, err := h.Attach(h.within(20*time.Second), h.conn); err == nil || errors.Is(err, ErrWrongDevice) != wrong {
			t.Errorf("%q: %v", text, err)
		}
	}
	h.conn.DRBD.Closed = false
	if _, err := h.Attach(h.within(20*time.Second), h.conn); !errors.Is(err, ErrInUse) {
		t.Errorf("opened for itself: %v", err)
	}
}

// TestDRBDWaits: the device comes while Attach waits, in each order in which
// kernel and udev may show it.
func TestDRBDWaits(t *testing.T) {
	h := newDRBDHost(t)
	h.change(func(me, _ *drbdsim.Replica) { me.Down = true })
	if _, err := h.Find(t.Context(), h.conn); !errors.Is(err, ErrNotAttached) {
		t.Errorf("before: %v", err)
	}
	waited := make(chan error)
	go func() {
		_, err := h.Attach(h.within(20*time.Second), h.conn)
		waited <- err
	}()
	h.change(func(me, _ *drbdsim.Replica) { me.Down = false })
	h.there()
	h.must(<-waited)
}

// TestDRBDLinkComesAndGoes: what was missing on the way may be there when it is
// to be watched, and be no folder.
func TestDRBDLinkComesAndGoes(t *testing.T) {
	tr := newDRBD(Host{Dev: t.TempDir()})
	c := Connection{Path: tr.link("r0", 0)}
	w, err := newWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	write(t, tr.host.Dev+"/drbd0", "")
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o755); err != nil {
		t.Fatal(err)
	}
	var udev sync.WaitGroup
	defer udev.Wait()
	watched := make(chan struct{})
	defer close(watched)
	udev.Go(func() {
		for {
			select {
			case <-watched:
				return
			default:
			}
			if err := errors.Join(os.Symlink("../../../drbd0", c.Path), os.Remove(c.Path)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 2000 {
		if err := tr.watch(w, c); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDRBDProdsUdev: a device without its link is shown to udev once more, and
// only once.
func TestDRBDProdsUdev(t *testing.T) {
	h := newDRBDHost(t)
	uevent := fmt.Sprintf("%s/block/drbd%d/uevent", h.host.Sys, h.minor)
	h.must(unix.Mkfifo(uevent, 0o600))
	asked, err := os.OpenFile(uevent, os.O_RDWR, 0)
	h.must(err)
	defer asked.Close()
	h.makeNode()
	waited := make(chan error)
	go func() {
		_, err := h.Attach(h.within(20*time.Second), h.conn)
		waited <- err
	}()
	word := make([]byte, 64)
	n, err := asked.Read(word)
	if string(word[:n]) != "change" || err != nil {
		t.Errorf("asked %q, %v", word[:n], err)
	}
	h.makeLink(h.nodePath())
	h.must(<-waited)
	h.must(os.Remove(h.conn.Path))
	ctx, cancel := context.WithCancel(h.within(20 * time.Second))
	go func() {
		_, err := h.Attach(ctx, h.conn)
		waited <- err
	}()
	n, err = asked.Read(word)
	if string(word[:n]) != "change" || err != nil {
		t.Errorf("asked %q, %v", word[:n], err)
	}
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "sh-udev minor-") {
		t.Errorf("no link: %v", err)
	}
}

func TestDRBDFlush(t *testing.T) {
	h := newDRBDHost(t).there()
	flushed := 0
	h.flush = func(node string) error { flushed++; return flushDevice(node) }
	h.must(h.Flush(t.Context(), h.conn))
	f, err := os.Open(h.nodePath())
	h.must(err)
	if err := h.Flush(t.Context(), h.conn); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("open: %v", err)
	}
	h.must(f.Close())
	h.change(func(me, _ *drbdsim.Replica) { me.Role = "Secondary" })
	h.must(h.Flush(t.Context(), h.conn)) // it cannot even be opened
	h.change(func(me, _ *drbdsim.Replica) { me.Down = true })
	h.must(h.Flush(t.Context(), h.conn))
	if flushed != 1 {
		t.Errorf("flushed %d times", flushed)
	}
	h.must(h.Arm(1, drbdsim.Fail))
	if err := h.Flush(t.Context(), h.conn); err == nil {
		t.Error("flushed although nothing is known")
	}
}

// TestDRBDFlushSevered: a device without a disk that has lost its peers is let go,
// and no other that cannot be flushed.
func TestDRBDFlushSevered(t *testing.T) {
	for name, c := range map[string]struct {
		is   func(me, peer *drbdsim.Replica)
		goes bool
	}{
		"severed":            {func(me, _ *drbdsim.Replica) { me.Disk, me.Cut = "Diskless", true }, true},
		"severed for good":   {func(me, _ *drbdsim.Replica) { me.Disk, me.StandAlone = "Diskless", true }, true},
		"the peer is there":  {func(me, _ *drbdsim.Replica) { me.Disk = "Diskless" }, false},
		"a disk":             {func(me, _ *drbdsim.Replica) { me.Cut = true }, false},
		"a disk that is old": {func(me, _ *drbdsim.Replica) { me.Cut, me.Disk = true, "Outdated" }, false},
		"a disk that failed": {func(me, _ *drbdsim.Replica) { me.Cut, me.Disk = true, "Failed" }, false},
		"open":               {func(me, _ *drbdsim.Replica) { me.Disk, me.Cut = "Diskless", true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newDRBDHost(t).there()
			h.change(c.is)
			h.flush = func(string) error { return unix.EIO }
			if name == "open" {
				f, err := os.Open(h.nodePath())
				h.must(err)
				defer f.Close()
			}
			if err := h.Flush(t.Context(), h.conn); (err == nil) != c.goes {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestDRBDGone(t *testing.T) {
	h := newDRBDHost(t).there()
	ctx := h.untilItWaits()
	if err := h.Gone(ctx, h.conn); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "still here") {
		t.Errorf("it is there: %v", err)
	}
	h.waits = nil
	waited := make(chan error)
	go func() { waited <- h.Gone(h.within(20*time.Second), h.conn) }()
	h.change(func(me, _ *drbdsim.Replica) { me.Down = true })
	h.must(os.Remove(h.nodePath()))
	h.must(<-waited)
	h.must(h.Gone(t.Context(), h.conn))
}
