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

	"golang.org/x/sys/unix"
)

func TestConnectOptions(t *testing.T) {
	target := NVMeTarget{SubsystemNQN: testSubsystem, HostNQN: testHostNQN}
	base := "transport=tcp,traddr=192.0.2.1,trsvcid=4420,nqn=" + testSubsystem + ",hostnqn=" + testHostNQN + ",hostid=id"
	for _, c := range []struct {
		loss, fail time.Duration
		portal     string
		want       string
	}{
		{0, 0, portalA, base},
		{-time.Second, 0, portalA, base + ",ctrl_loss_tmo=-1"},
		{1800 * time.Second, 5 * time.Second, portalA, base + ",ctrl_loss_tmo=1800,fast_io_fail_tmo=5"},
		{time.Millisecond, 1500 * time.Millisecond, portalA, base + ",ctrl_loss_tmo=1,fast_io_fail_tmo=2"},
		{0, 0, "[2001:db8::1]:4421", strings.Replace(base, "192.0.2.1,trsvcid=4420", "2001:db8::1,trsvcid=4421", 1)},
	} {
		target.CtrlLossTimeout, target.FastIOFailTimeout = c.loss, c.fail
		if got := connectOptions(&target, netip.MustParseAddrPort(c.portal), "id"); got != c.want {
			t.Errorf("%v, %v: %s\nwant %s", c.loss, c.fail, got, c.want)
		}
	}
}

func TestNVMeOnePortalRefuses(t *testing.T) {
	f := newFakeNVMe(t)
	f.volume()
	f.dials = func(p string) error {
		if p == portalB {
			return unix.ECONNREFUSED
		}
		return nil
	}
	d, err := f.transport().Attach(t.Context(), f.connection(portalA, portalB))
	if err != nil || !strings.Contains(d.Warning, portalB) || !strings.Contains(d.Warning, "refused") || strings.Contains(d.Warning, portalA) {
		t.Errorf("%+v, %v", d, err)
	}
	if len(f.connected) != 1 {
		t.Errorf("the kernel was asked for a portal that refuses: %v", f.connected)
	}
}

func TestNVMeEveryPortalRefuses(t *testing.T) {
	for name, set := range map[string]func(f *fakeNVMe){
		"network": func(f *fakeNVMe) { f.dials = func(string) error { return unix.ECONNREFUSED } },
		"target":  func(f *fakeNVMe) { f.connect = func(string) error { return unix.ECONNREFUSED } },
	} {
		f := newFakeNVMe(t)
		set(f)
		_, err := f.transport().Attach(t.Context(), f.connection(portalA, portalB))
		if err == nil {
			t.Fatal("attached")
		}
		for _, words := range []string{portalA, portalB, "refused", testHostNQN, testSubsystem, "flash/vm1"} {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %q is not in: %v", name, words, err)
			}
		}
		if !errors.Is(err, unix.ECONNREFUSED) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A portal that does not answer at all does not hold the others up, and the
// kernel never hears of it.
func TestNVMePortalThatIsSilent(t *testing.T) {
	f := newFakeNVMe(t)
	f.scan = func(string) { f.volume() }
	tr := f.transport()
	tr.grace = time.Millisecond
	tr.dial = func(ctx context.Context, p netip.AddrPort) error {
		if p.String() != portalB {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	d, err := tr.Attach(t.Context(), f.connection(portalB, portalA))
	if err != nil || !strings.Contains(d.Warning, portalB+", which has not answered") || len(f.connected) != 1 {
		t.Errorf("%+v, %v, connected %v", d, err, f.connected)
	}
}

// The slow portal is waited for: without it the device would have one path.
func TestNVMeAllPortalsAreConnected(t *testing.T) {
	f := newFakeNVMe(t)
	f.volume()
	first := make(chan struct{})
	f.dials = func(p string) error {
		if p == portalB {
			<-first
		}
		return nil
	}
	f.connect = func(options string) error {
		if portalOf(options) == portalA {
			close(first)
		}
		return nil
	}
	d, err := f.transport().Attach(t.Context(), f.connection(portalA, portalB, portalA))
	if err != nil || d.Warning != "" || len(f.connected) != 2 {
		t.Errorf("%+v, %v, connected %v", d, err, f.connected)
	}
}

func TestNVMeConnectedMeanwhile(t *testing.T) {
	f := newFakeNVMe(t)
	f.connect = func(string) error {
		f.controller(portalA, testHostNQN, "live")
		f.kernel.Go(func() { f.volume() })
		return fmt.Errorf("%w: %w", fs.ErrExist, unix.EALREADY)
	}
	if d, err := f.transport().Attach(t.Context(), f.connection(portalA)); err != nil || d.Warning != "" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestNVMeWithoutMultipath(t *testing.T) {
	f := newFakeNVMe(t)
	write(t, f.h.Sys+"/module/nvme_core/parameters/multipath", "N\n")
	f.scan = func(controller string) { // the namespace is the controller's
		for file, text := range map[string]string{"nguid": dashed(testNGUID), "size": "2048", "ro": "0", "nsid": "1"} {
			write(t, controller+"/nvme0n1/"+file, text+"\n")
		}
		f.say(f.h.Dev+"/nvme0n1", Namespace{NGUID: testNGUID, SizeBytes: mib})
		write(t, f.h.Dev+"/nvme0n1", "")
		f.link("nvme0n1")
	}
	for _, step := range []string{"first", "again"} {
		d, err := f.transport().Attach(t.Context(), f.connection(portalA, portalB))
		if err != nil || !strings.Contains(d.Warning, "multipath is off") || len(f.connected) != 1 {
			t.Errorf("%s: %+v, %v, connected %v", step, d, err, f.connected)
		}
	}
}

func TestMultipathParameter(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"on":                       {map[string]string{"multipath": "Y\n"}, true},
		"off":                      {map[string]string{"multipath": "N\n"}, false},
		"not built in":             {map[string]string{"io_timeout": "30\n"}, false},
		"kernel does not say":      {nil, true},
		"not what a kernel writes": {map[string]string{"multipath": "Y\x1b[2J"}, false},
	} {
		tr := newNVMe(Host{Sys: t.TempDir()})
		for file, text := range c.files {
			write(t, filepath.Join(tr.host.Sys, "module/nvme_core/parameters", file), text)
		}
		if got := tr.multipath(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestHostIdentityIsMadeOnce(t *testing.T) {
	f := newFakeNVMe(t)
	tr, c := f.transport(), f.connection(portalA)
	id, err := tr.prepareConnect(t.Context(), c.NVMe, nvmeView{})
	if err != nil || id != "0b5e9c3a-7d7e-4c55-9d3e-0a1b2c3d4e5f" {
		t.Fatalf("%q, %v", id, err)
	}
	for file, want := range map[string]string{"hostnqn": testHostNQN + "\n", "hostid": id + "\n"} {
		path := f.h.Etc + "/nvme/" + file
		text, err := os.ReadFile(path)
		info, serr := os.Stat(path)
		if err != nil || serr != nil || string(text) != want || info.Mode() != 0o644 {
			t.Errorf("%s: %q, %v, %v", file, text, info.Mode(), errors.Join(err, serr))
		}
	}
	if left, _ := filepath.Glob(f.h.Etc + "/nvme/.*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestHostIdentityThatIsThere(t *testing.T) {
	const kept = "6e64eccb-994d-4384-9d49-8780aeec9ad1"
	for name, c := range map[string]struct {
		nqn, id string // files; empty: missing
		want    string
		words   string
	}{
		"kept":              {testHostNQN + "\n", kept + "\n", kept, ""},
		"id is missing":     {testHostNQN, "", "0b5e9c3a-7d7e-4c55-9d3e-0a1b2c3d4e5f", ""},
		"another name":      {otherHostNQN + "\n", kept, "", otherHostNQN},
		"id is nonsense":    {testHostNQN, "x,nqn=y\n", "", "hostid does not hold a UUID"},
		"name of two lines": {testHostNQN + "\nx", kept, "", "hostnqn says"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNVMe(t)
			write(t, f.h.Etc+"/nvme/hostnqn", c.nqn)
			if c.id != "" {
				write(t, f.h.Etc+"/nvme/hostid", c.id)
			}
			// Attach ends by itself where the only portal refuses.
			f.connect = func(string) error { return unix.ECONNREFUSED }
			_, err := f.transport().Attach(atMost(t), f.connection(portalA))
			if c.words == "" {
				if len(f.connected) != 1 || !strings.Contains(f.connected[0], ",hostid="+c.want) {
					t.Errorf("connected %v, %v", f.connected, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.words) || len(f.connected) > 0 {
				t.Errorf("%v, connected %v", err, f.connected)
			}
		})
	}
}

// The kernel refuses one host NQN with two ids, so a controller that is there
// decides.
func TestHostIDOfAControllerThatIsThere(t *testing.T) {
	const theirs = "6e64eccb-994d-4384-9d49-8780aeec9ad1"
	f := newFakeNVMe(t)
	write(t, f.controller(portalB, testHostNQN, "live")+"/hostid", theirs+"\n")
	f.volume()
	if _, err := f.transport().Attach(t.Context(), f.connection(portalA, portalB)); err != nil || len(f.connected) != 1 ||
		!strings.HasSuffix(f.connected[0], ",hostid="+theirs) {
		t.Errorf("%v, %v", f.connected, err)
	}
}

func TestHostIDWithoutUUIDInTheName(t *testing.T) {
	a, b := newHostID("nqn.2020-01.org.example:kvm01", nvmeView{}), newHostID("nqn.2020-01.org.example:kvm01", nvmeView{})
	if a == b || !uuidText.MatchString(a) {
		t.Errorf("%q, %q", a, b)
	}
}

func TestHostIdentityOfSeveralAtOnce(t *testing.T) {
	dir := t.TempDir()
	seen := make([]string, 32)
	var wg sync.WaitGroup
	for i := range seen {
		wg.Go(func() {
			var err error
			if seen[i], err = keep(dir+"/hostid", fmt.Sprint("id-", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range seen {
		if s != seen[0] || s == "" {
			t.Fatalf("they differ: %v", seen)
		}
	}
	if names, err := folderNames(dir); err != nil || len(names) != 1 {
		t.Errorf("left: %v, %v", names, err)
	}
}

func TestNVMeDriverIsLoaded(t *testing.T) {
	f := newFakeNVMe(t)
	f.must(os.Remove(f.h.Dev + "/nvme-fabrics"))
	_, err := f.transport().Attach(t.Context(), f.connection(portalA))
	if err == nil || !strings.Contains(err.Error(), "no such module") || !strings.Contains(err.Error(), "modules of the running kernel") {
		t.Errorf("%v", err)
	}
	tr := f.transport()
	tr.modprobe = func(_ context.Context, module string) error {
		if module != "nvme-tcp" {
			t.Errorf("loads %s", module)
		}
		f.kernel.Go(func() { f.must(os.WriteFile(f.h.Dev+"/nvme-fabrics", nil, 0o600)) })
		return nil
	}
	f.scan = func(string) { f.volume() }
	if _, err := tr.Attach(t.Context(), f.connection(portalA)); err != nil {
		t.Error(err)
	}
}
