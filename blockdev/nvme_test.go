package blockdev

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNVMeAttachConnectsAndWaits(t *testing.T) {
	f := newFakeNVMe(t)
	f.scan = func(string) { f.volume() }
	c := f.connection(portalA)
	d, err := f.transport().Attach(t.Context(), c)
	want := Device{Path: c.Path, Node: f.h.Dev + "/nvme0n1", Identity: testNGUID, SizeBytes: mib}
	if err != nil || d != want {
		t.Errorf("%+v, %v; want %+v", d, err, want)
	}
	if found, err := f.transport().Find(t.Context(), c); err != nil || found != want {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestNVMeAttachOfWhatIsThere(t *testing.T) {
	f := newFakeNVMe(t)
	f.controller(portalA, testHostNQN, "live")
	f.controller(portalB, testHostNQN, "live")
	f.volume()
	for range 2 {
		if d, err := f.transport().Attach(t.Context(), f.connection(portalA, portalB)); err != nil || d.Warning != "" {
			t.Errorf("%+v, %v", d, err)
		}
	}
	if len(f.connected) > 0 || len(f.rescanned()) > 0 {
		t.Errorf("connected %v, rescanned %v for nothing", f.connected, f.rescanned())
	}
	if _, err := os.Stat(f.h.Etc + "/nvme"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the host's name was touched: %v", err)
	}
}

// A target that sends no events: the namespace comes because it was asked for.
func TestNVMeRescan(t *testing.T) {
	f := newFakeNVMe(t)
	dir := f.controller(portalA, testHostNQN, "live")
	f.kernel.Go(func() {
		f.awaitRescan(dir)
		f.volume()
	})
	if _, err := f.transport().Attach(t.Context(), f.connection(portalA)); err != nil {
		t.Error(err)
	}
}

// Linux drops the old namespace at the first scan, and shows the new one at
// the same NSID only after another.
func TestNVMeNSIDUsedAgainNeedsTwoScans(t *testing.T) {
	f := newFakeNVMe(t)
	dir := f.controller(portalA, testHostNQN, "live")
	old := f.namespace("nvme0n1", 1, otherNGUID, mib)
	f.say(old, Namespace{NGUID: testNGUID, SizeBytes: mib}) // the device knows, the kernel does not
	c := f.connection(portalA)
	c.NVMe.NSID = 1
	f.kernel.Go(func() {
		f.awaitRescan(dir)
		write(t, dir+"/rescan_controller", "")
		f.remove("nvme0n1")
		f.awaitRescan(dir)
		f.namespace("nvme0n2", 1, testNGUID, mib)
		f.link("nvme0n2")
	})
	if d, err := f.transport().Attach(t.Context(), c); err != nil || filepath.Base(d.Node) != "nvme0n2" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestNVMeControllerThatIsComing(t *testing.T) {
	for _, state := range []string{"connecting", "resetting", "new"} {
		t.Run(state, func(t *testing.T) {
			f := newFakeNVMe(t)
			dir := f.controller(portalA, testHostNQN, state)
			_, err := f.transport().Attach(briefly(t), f.connection(portalA))
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), portalA+": controller nvme0 is "+state) {
				t.Errorf("%v", err)
			}
			f.kernel.Go(func() {
				f.set(dir, "state", "live")
				f.volume()
			})
			if _, err := f.transport().Attach(t.Context(), f.connection(portalA)); err != nil {
				t.Error(err)
			}
			if len(f.connected) > 0 {
				t.Errorf("connected beside it: %v", f.connected)
			}
		})
	}
}

func TestNVMeControllerThatGoesIsReplaced(t *testing.T) {
	for _, state := range []string{"deleting", "deleting (no IO)", "dead"} {
		f := newFakeNVMe(t)
		f.controller(portalA, testHostNQN, state)
		f.volume()
		if _, err := f.transport().Attach(t.Context(), f.connection(portalA)); err != nil || len(f.connected) != 1 {
			t.Errorf("%s: %v, connected %v", state, err, f.connected)
		}
	}
}

// Somebody's controller at the same portal, as another host: not ours to use,
// and a namespace that only it reaches is not there.
func TestNVMeForeignController(t *testing.T) {
	f := newFakeNVMe(t)
	foreign := f.controller(portalA, otherHostNQN, "live")
	f.must(os.Mkdir(foreign+"/nvme0c0n1", 0o755))
	f.volume()
	c := f.connection(portalA)
	if _, err := f.transport().Find(t.Context(), c); !errors.Is(err, ErrNotAttached) {
		t.Errorf("through another host's controller: %v", err)
	}
	if err := f.transport().Gone(t.Context(), c); err != nil {
		t.Errorf("another host's namespace is waited for: %v", err)
	}
	f.scan = func(controller string) {
		f.must(os.Mkdir(controller+"/nvme0c1n1", 0o755))
		f.wake()
	}
	if _, err := f.transport().Attach(t.Context(), c); err != nil {
		t.Error(err)
	}
	if len(f.connected) != 1 || !strings.Contains(f.connected[0], "hostnqn="+testHostNQN) {
		t.Errorf("connected %v", f.connected)
	}
}

// Each way in which a device can be another than the volume. None is waited
// for where waiting cannot help.
func TestNVMeWrongDevice(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(f *fakeNVMe, c *Connection, node string)
		words string
	}{
		{"another volume behind the NSID", func(f *fakeNVMe, _ *Connection, node string) {
			f.say(node, Namespace{NGUID: otherNGUID, SizeBytes: mib})
		}, otherNGUID},
		{"the array names the NSID, too", func(f *fakeNVMe, c *Connection, node string) {
			c.NVMe.NSID = 1
			f.say(node, Namespace{NGUID: otherNGUID, SizeBytes: mib})
		}, otherNGUID},
		{"without an NGUID, but with a UUID", func(f *fakeNVMe, _ *Connection, node string) {
			f.say(node, Namespace{UUID: testNGUID, SizeBytes: mib})
		}, "says that it is nothing"},
		{"too small", func(f *fakeNVMe, _ *Connection, node string) {
			f.say(node, Namespace{NGUID: testNGUID, SizeBytes: mib - 512})
		}, "1048064 bytes, wanted 1048576"},
		{"too large", func(f *fakeNVMe, _ *Connection, node string) {
			f.say(node, Namespace{NGUID: testNGUID, SizeBytes: mib + 512})
		}, "1049088 bytes, wanted 1048576"},
		{"read-only", func(f *fakeNVMe, _ *Connection, _ string) { f.set(f.dirOf("nvme0n1"), "ro", "1") }, "read-only"},
		{"link to another device", func(f *fakeNVMe, c *Connection, _ string) {
			f.must(os.Remove(c.Path))
			f.namespace("nvme0n2", 2, otherNGUID, mib)
			f.link("nvme0n2")
		}, "leads to "},
		{"link to a partition", func(f *fakeNVMe, c *Connection, node string) {
			f.must(os.Remove(c.Path))
			write(f.t, node+"p1", "")
			f.link("nvme0n1p1")
		}, "nvme0n1p1"},
		{"node of an earlier device", func(f *fakeNVMe, _ *Connection, _ string) {
			f.set(f.dirOf("nvme0n1"), "dev", "259:7")
		}, "259:7"},
		{"no link but a file", func(f *fakeNVMe, c *Connection, _ string) {
			f.must(os.Remove(c.Path))
			write(f.t, c.Path, "")
		}, "no link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeNVMe(t)
			f.controller(portalA, testHostNQN, "live")
			conn := f.connection(portalA)
			c.spoil(f, &conn, f.volume())
			for call, err := range map[string]error{
				"attach": second(f.transport().Attach(briefly(t), conn)),
				"find":   second(f.transport().Find(t.Context(), conn)),
				"grow":   second(f.transport().Grow(briefly(t), conn)),
			} {
				if !errors.Is(err, ErrWrongDevice) || !strings.Contains(err.Error(), c.words) {
					t.Errorf("%s: %v, want %q", call, err, c.words)
				}
			}
		})
	}
}

// The array names an NSID, and there the device itself says that it is another
// volume: no waiting helps.
func TestNVMeArrayNamesTheNSIDOfAnother(t *testing.T) {
	f := newFakeNVMe(t)
	f.controller(portalA, testHostNQN, "live")
	f.namespace("nvme0n1", 7, otherNGUID, mib)
	c := f.connection(portalA)
	c.NVMe.NSID = 7
	_, err := f.transport().Attach(t.Context(), c)
	if !errors.Is(err, ErrWrongDevice) || !strings.Contains(err.Error(), "NSID 7") || !strings.Contains(err.Error(), otherNGUID) {
		t.Errorf("%v", err)
	}
}

// The kernel still has the volume at an NSID where it no longer is.
func TestNVMeStaleNamespaceIsReplaced(t *testing.T) {
	f := newFakeNVMe(t)
	dir := f.controller(portalA, testHostNQN, "live")
	f.say(f.volume(), Namespace{NGUID: otherNGUID, SizeBytes: mib})
	c := f.connection(portalA)
	c.NVMe.NSID = 9
	f.kernel.Go(func() {
		f.awaitRescan(dir)
		f.must(os.Remove(c.Path))
		f.remove("nvme0n1")
		f.namespace("nvme0n5", 9, testNGUID, mib)
		f.link("nvme0n5")
	})
	if d, err := f.transport().Attach(t.Context(), c); err != nil || filepath.Base(d.Node) != "nvme0n5" {
		t.Errorf("%+v, %v", d, err)
	}
}

// A link that an earlier device left is replaced by udev.
func TestNVMeStaleLink(t *testing.T) {
	f := newFakeNVMe(t)
	f.controller(portalA, testHostNQN, "live")
	f.namespace("nvme0n1", 1, testNGUID, mib)
	f.link("nvme7n7")
	c := f.connection(portalA)
	if _, err := f.transport().Find(t.Context(), c); !errors.Is(err, ErrNotAttached) {
		t.Errorf("%v", err)
	}
	f.kernel.Go(func() {
		f.must(os.Remove(c.Path))
		f.link("nvme0n1")
	})
	if _, err := f.transport().Attach(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestNVMeHeld(t *testing.T) {
	f := newFakeNVMe(t)
	f.controller(portalA, testHostNQN, "live")
	f.volume()
	write(t, f.dirOf("nvme0n1")+"/holders/dm-4", "")
	_, err := f.transport().Attach(t.Context(), f.connection(portalA))
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "dm-4") {
		t.Errorf("%v", err)
	}
}

func TestNVMeConnectionIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(c *Connection){
		"no target":       func(c *Connection) { c.NVMe = nil },
		"path elsewhere":  func(c *Connection) { c.Path = "/dev/sda" },
		"path of another": func(c *Connection) { c.Path = strings.Replace(c.Path, testNGUID, otherNGUID, 1) },
		"NGUID too short": func(c *Connection) { c.Identity = Identity(testNGUID[1:]) },
		"upper case":      func(c *Connection) { c.Identity = Identity(strings.ToUpper(testNGUID)) },
		"zero NGUID":      func(c *Connection) { c.Identity = noNGUID },
		"NGUID climbs":    func(c *Connection) { c.Identity = "../../../../sda" },
		"option in NQN":   func(c *Connection) { c.NVMe.SubsystemNQN += ",duplicate_connect" },
		"newline in NQN":  func(c *Connection) { c.NVMe.HostNQN += "\nhostid=0" },
		"no NQN":          func(c *Connection) { c.NVMe.HostNQN = "" },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNVMe(t)
			c, tr := f.connection(portalA), f.transport()
			spoil(&c)
			for call, err := range map[string]error{
				"attach": second(tr.Attach(t.Context(), c)), "find": second(tr.Find(t.Context(), c)),
				"grow": second(tr.Grow(t.Context(), c)), "flush": tr.Flush(t.Context(), c), "gone": tr.Gone(t.Context(), c),
			} {
				if err == nil || errors.Is(err, ErrNotAttached) || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
	for name, spoil := range map[string]func(c *Connection){
		"no portal":      func(c *Connection) { c.NVMe.Portals = nil },
		"portal by name": func(c *Connection) { c.NVMe.Portals[0].Address = "array.example" },
		"option in it":   func(c *Connection) { c.NVMe.Portals[0].Address = "192.0.2.1,nqn=x" },
		"port 0":         func(c *Connection) { c.NVMe.Portals[0].Port = 0 },
		"port 70000":     func(c *Connection) { c.NVMe.Portals[0].Port = 70000 },
		"no size":        func(c *Connection) { c.SizeBytes = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNVMe(t)
			c := f.connection(portalA)
			spoil(&c)
			if _, err := f.transport().Attach(t.Context(), c); err == nil || len(f.connected) > 0 {
				t.Errorf("%v, connected %v", err, f.connected)
			}
		})
	}
}

// No path answers: that is neither there nor not there.
func TestNVMeNoPathAnswers(t *testing.T) {
	f := newFakeNVMe(t)
	dir := f.controller(portalA, testHostNQN, "connecting")
	f.volume()
	f.identified = unix.EAGAIN
	c := f.connection(portalA)
	if _, err := f.transport().Find(t.Context(), c); err == nil || errors.Is(err, ErrNotAttached) || errors.Is(err, ErrWrongDevice) {
		t.Errorf("%v", err)
	}
	_, err := f.transport().Attach(briefly(t), c)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no path to it answers") ||
		!strings.Contains(err.Error(), "controller nvme0 is connecting") {
		t.Errorf("%v", err)
	}
	f.kernel.Go(func() {
		f.mu.Lock()
		f.identified = nil
		f.mu.Unlock()
		f.set(dir, "state", "live")
	})
	if _, err := f.transport().Attach(t.Context(), c); err != nil {
		t.Error(err)
	}
}
