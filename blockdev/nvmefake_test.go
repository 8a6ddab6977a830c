package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testSubsystem = "nqn.2010-06.com.purestorage:flasharray.test"
	testHostNQN   = "nqn.2014-08.org.nvmexpress:uuid:0b5e9c3a-7d7e-4c55-9d3e-0a1b2c3d4e5f"
	otherHostNQN  = "nqn.2014-08.org.nvmexpress:uuid:11111111-7d7e-4c55-9d3e-0a1b2c3d4e5f"
	testNGUID     = "009714b5cb91634c24a937470002b2c8"
	otherNGUID    = "008726b5033af24324a9373d00014196"
	portalA       = "192.0.2.1:4420"
	portalB       = "192.0.2.2:4420"
)

// fakeNVMe is a host made of files whose kernel is this type: what it is asked
// to do it does to the files, in the kernel's order.
type fakeNVMe struct {
	t *testing.T
	h Host

	kernel     sync.WaitGroup // what the kernel does meanwhile
	mu         sync.Mutex
	says       map[string]Namespace // node → what the device says of itself
	identified error                // Identify's error
	asked      func(node string)    // what happens while Identify's answer is on its way
	connected  []string             // options of every Connect
	connect    func(options string) error
	scan       func(controller string) // what the kernel does once connected
	dials      func(portal string) error
	nextIndex  int
}

func newFakeNVMe(t *testing.T) *fakeNVMe {
	t.Helper()
	dir := t.TempDir()
	f := &fakeNVMe{t: t, says: map[string]Namespace{}}
	t.Cleanup(f.kernel.Wait) // before its folder goes
	f.h = Host{Sys: dir + "/sys", Dev: dir + "/dev", Proc: dir + "/proc", Etc: dir + "/etc", Run: dir + "/run", NVMe: f}
	for _, d := range []string{f.h.Dev + "/disk/by-id", f.h.Proc, f.h.Etc, f.h.Run + "/udev/data"} {
		f.must(os.MkdirAll(d, 0o755))
	}
	write(t, f.h.Sys+"/module/nvme_core/parameters/multipath", "Y\n")
	write(t, f.h.Dev+"/nvme-fabrics", "")
	return f
}

func (f *fakeNVMe) must(errs ...error) {
	f.t.Helper()
	if err := errors.Join(errs...); err != nil {
		f.t.Error(err) // also from the goroutines that play kernel
	}
}

func (f *fakeNVMe) transport() nvme {
	t := newNVMe(f.h)
	t.patience, t.grace = 50*time.Millisecond, 20*time.Second
	t.flush = func(string) error { return nil }
	t.dial = func(_ context.Context, p netip.AddrPort) error {
		if f.dials == nil {
			return nil
		}
		return f.dials(p.String())
	}
	t.modprobe = func(context.Context, string) error { return errors.New("modprobe: no such module") }
	return t
}

// connection is the volume that all tests want.
func (f *fakeNVMe) connection(portals ...string) Connection {
	c := Connection{
		Protocol: NVMeTCP, Pool: "flash", Volume: "vm1", HostID: "host-1", Identity: testNGUID, SizeBytes: mib,
		Path: f.h.Dev + "/disk/by-id/nvme-eui." + testNGUID,
		NVMe: &NVMeTarget{SubsystemNQN: testSubsystem, HostNQN: testHostNQN},
	}
	for _, p := range portals {
		a := netip.MustParseAddrPort(p)
		c.NVMe.Portals = append(c.NVMe.Portals, Portal{Address: a.Addr().String(), Port: int(a.Port())})
	}
	return c
}

// controller makes one as the kernel shows it.
func (f *fakeNVMe) controller(portal, hostNQN, state string) (dir string) {
	f.t.Helper()
	f.mu.Lock()
	name := fmt.Sprintf("nvme%d", f.nextIndex)
	f.nextIndex++
	f.mu.Unlock()
	a := netip.MustParseAddrPort(portal)
	dir = filepath.Join(f.h.Sys, "class/nvme", name)
	for file, text := range map[string]string{
		"transport": "tcp", "subsysnqn": testSubsystem, "hostnqn": hostNQN, "state": state,
		"address":           fmt.Sprintf("traddr=%s,trsvcid=%d,src_addr=192.0.2.9", a.Addr(), a.Port()),
		"rescan_controller": "",
	} {
		write(f.t, filepath.Join(dir, file), text+"\n")
	}
	write(f.t, filepath.Join(f.h.Sys, "class/nvme-subsystem/nvme-subsys0/subsysnqn"), testSubsystem+"\n")
	f.wake()
	return dir
}

// namespace makes the head of a namespace and its node, without a link.
func (f *fakeNVMe) namespace(name string, nsid int, nguid string, sizeBytes int64) (node string) {
	f.t.Helper()
	dir := f.dirOf(name)
	for file, text := range map[string]string{
		"nguid": dashed(nguid), "size": fmt.Sprint(sizeBytes / 512), "ro": "0", "hidden": "0",
		"nsid": fmt.Sprint(nsid), "uevent": "",
	} {
		write(f.t, filepath.Join(dir, file), text+"\n")
	}
	node = filepath.Join(f.h.Dev, name)
	f.mu.Lock()
	f.says[node] = Namespace{NGUID: nguid, SizeBytes: sizeBytes}
	f.mu.Unlock()
	write(f.t, node, "")
	return node
}

func (f *fakeNVMe) dirOf(name string) string {
	return filepath.Join(f.h.Sys, "class/nvme-subsystem/nvme-subsys0", name)
}

func (f *fakeNVMe) say(node string, n Namespace) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.says[node] = n
}

func (f *fakeNVMe) set(dir, file, text string) {
	f.t.Helper()
	// A reader of sysfs sees the old value or the new one.
	write(f.t, filepath.Join(dir, ".new"), text+"\n")
	f.must(os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, file)))
	f.wake()
}

// wake stands for the event that the kernel sends after a change in sysfs.
func (f *fakeNVMe) wake() {
	now := time.Now()
	f.must(os.Chtimes(filepath.Join(f.h.Dev, "nvme-fabrics"), now, now))
}

// link is what udev makes.
func (f *fakeNVMe) link(target string) {
	f.t.Helper()
	f.must(os.Symlink("../../"+target, filepath.Join(f.h.Dev, "disk/by-id/nvme-eui."+testNGUID)))
}

// volume is the wanted namespace with its link.
func (f *fakeNVMe) volume() (node string) {
	f.t.Helper()
	node = f.namespace("nvme0n1", 1, testNGUID, mib)
	f.link("nvme0n1")
	return node
}

func (f *fakeNVMe) remove(name string) {
	f.t.Helper()
	f.must(os.RemoveAll(f.dirOf(name)), os.Remove(filepath.Join(f.h.Dev, name)))
}

func (f *fakeNVMe) Connect(_ context.Context, options string) (string, error) {
	f.mu.Lock()
	f.connected = append(f.connected, options)
	f.mu.Unlock()
	if f.connect != nil {
		if err := f.connect(options); err != nil {
			return "", err
		}
	}
	dir := f.controller(portalOf(options), testHostNQN, "live")
	if f.scan != nil {
		f.kernel.Go(func() { f.scan(dir) })
	}
	return filepath.Base(dir), nil
}

func portalOf(options string) string {
	var address, port string
	for o := range strings.SplitSeq(options, ",") {
		if v, ok := strings.CutPrefix(o, "traddr="); ok {
			address = v
		}
		if v, ok := strings.CutPrefix(o, "trsvcid="); ok {
			port = v
		}
	}
	return address + ":" + port
}

func (f *fakeNVMe) Identify(_ context.Context, node string) (Namespace, error) {
	if f.asked != nil {
		defer f.asked(node)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.identified != nil {
		return Namespace{}, f.identified
	}
	n, ok := f.says[node]
	if !ok {
		return Namespace{}, &fs.PathError{Op: "open", Path: node, Err: fs.ErrNotExist}
	}
	return n, nil
}

// rescanned counts the controllers that were asked for their namespaces.
func (f *fakeNVMe) rescanned() (names []string) {
	all, err := filepath.Glob(f.h.Sys + "/class/nvme/*/rescan_controller")
	f.must(err)
	for _, file := range all {
		text, err := os.ReadFile(file)
		f.must(err)
		if strings.HasPrefix(string(text), "1") {
			names = append(names, filepath.Base(filepath.Dir(file)))
		}
	}
	return names
}

// awaitRescan returns once a controller was asked for its namespaces.
func (f *fakeNVMe) awaitRescan(controller string) {
	f.t.Helper()
	w, err := newWatcher()
	f.must(err)
	defer w.close()
	f.must(w.add(controller, closing))
	for {
		if len(f.rescanned()) > 0 {
			return
		}
		f.must(w.next(f.t.Context()))
	}
}

func dashed(nguid string) string {
	return nguid[:8] + "-" + nguid[8:12] + "-" + nguid[12:16] + "-" + nguid[16:20] + "-" + nguid[20:]
}

// briefly is a context whose end a test waits for.
func briefly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
