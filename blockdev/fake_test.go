package blockdev

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/testenv"
)

// fakeHost is a host made of files.
func fakeHost(t *testing.T) Host {
	t.Helper()
	dir := t.TempDir()
	h := Host{Sys: dir + "/sys", Dev: dir + "/dev", Proc: dir + "/proc"}
	for _, d := range []string{h.Sys + "/block/loop3/holders", h.Dev, h.Proc} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestHoldersAreNamed(t *testing.T) {
	h := fakeHost(t)
	node := h.Dev + "/loop3"
	write(t, node, "")
	if err := busy(h, node); err != nil {
		t.Errorf("idle: %v", err)
	}
	write(t, h.Sys+"/block/loop3/holders/dm-4", "")
	if err := busy(h, node); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "dm-4") {
		t.Errorf("%v", err)
	}
	if other, err := holders(h, h.Dev+"/loop9"); err != nil || other != nil {
		t.Errorf("a device that sysfs does not know: %v, %v", other, err)
	}
}

func TestOpenersAreNamed(t *testing.T) {
	testenv.NeedRoot(t)
	h := fakeHost(t)
	block := filepath.Join(h.Dev, "node")
	if err := unix.Mknod(block, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 3))); err != nil {
		t.Fatal(err)
	}
	char := filepath.Join(h.Dev, "char")
	if err := unix.Mknod(char, unix.S_IFCHR|0o600, int(unix.Mkdev(7, 3))); err != nil {
		t.Fatal(err)
	}
	write(t, h.Proc+"/10/comm", "qemu-system-x86\n")
	write(t, h.Proc+"/11/comm", "other\n")
	write(t, h.Proc+"/uptime", "")
	for pid, target := range map[string]string{"10": block, "11": char, "12": block} {
		fd := h.Proc + "/" + pid + "/fd"
		if err := errors.Join(os.MkdirAll(fd, 0o755), os.Symlink("/dev/null", fd+"/0"), os.Symlink(target, fd+"/7"),
			os.Symlink("/nowhere", fd+"/8")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := openers(h, unix.Mkdev(7, 3))
	if err != nil || list(got) != "pid 10 (qemu-system-x86), pid 12 (just gone)" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := openers(h, unix.Mkdev(7, 4)); err != nil || got != nil {
		t.Errorf("of another device: %v, %v", got, err)
	}
}

// At every stop of a guest udev looks at the device that QEMU has closed. Only its
// own workers, and only if they cannot write, do not count.
func TestUdevReads(t *testing.T) {
	testenv.NeedRoot(t)
	const (
		worker = "(udev-worker)"
		group  = "0::/system.slice/systemd-udevd.service/udev\n"
		reads  = "pos:\t0\nflags:\t02500000\nmnt_id:\t5\n"
		writes = "pos:\t0\nflags:\t02500002\nmnt_id:\t5\n"
	)
	for name, c := range map[string]struct {
		comm, group, second string
		counts              bool
	}{
		"a worker":                       {worker, group, reads, false},
		"the daemon of an old systemd":   {"systemd-udevd", group, reads, false},
		"a worker that also writes":      {worker, group, writes, true},
		"a worker that tells no flags":   {worker, group, "pos:\t0\n", true},
		"what a rule of udev starts":     {"mdadm", group, reads, true},
		"a process with the name of one": {worker, "0::/user.slice/session-3.scope\n", reads, true},
		"QEMU":                           {"qemu-system-x86", "0::/machine.slice\n", reads, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := fakeHost(t)
			node := filepath.Join(h.Dev, "nvme0n1")
			if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(4001, 3))); err != nil {
				t.Fatal(err)
			}
			write(t, h.Proc+"/10/comm", c.comm+"\n")
			write(t, h.Proc+"/10/cgroup", c.group)
			write(t, h.Proc+"/10/fdinfo/7", reads)
			write(t, h.Proc+"/10/fdinfo/9", c.second)
			if err := errors.Join(os.MkdirAll(h.Proc+"/10/fd", 0o755), os.Symlink(node, h.Proc+"/10/fd/7"),
				os.Symlink("/dev/null", h.Proc+"/10/fd/8"), os.Symlink(node, h.Proc+"/10/fd/9")); err != nil {
				t.Fatal(err)
			}
			if err := busy(h, node); !errors.Is(err, ErrInUse) {
				t.Errorf("for everything else it counts: %v", err)
			}
			// There is no such device: opening it fails in another way.
			if err := busyButUdev(h, node); errors.Is(err, ErrInUse) != c.counts {
				t.Errorf("counts: %v, want %v", err, c.counts)
			}
		})
	}
}

func TestConnectionIsChecked(t *testing.T) {
	good := Connection{Protocol: Loop, Pool: "p", Volume: "v", Identity: "id", HostID: "h", SizeBytes: 512,
		Path: "/dev/volbridge/p/v", File: "/srv/p/v/disk.raw"}
	if err := newLoop(System()).check(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(c *Connection){
		"path elsewhere":      func(c *Connection) { c.Path = "/dev/sda" },
		"path of another":     func(c *Connection) { c.Path = "/dev/volbridge/p/w" },
		"path not clean":      func(c *Connection) { c.Path = "/dev/volbridge/p/../p/v" },
		"volume climbs":       func(c *Connection) { c.Volume, c.Path = "../../sda", "/dev/sda" },
		"volume is dots":      func(c *Connection) { c.Volume, c.Path = "..", "/dev/volbridge" },
		"volume with slash":   func(c *Connection) { c.Volume, c.Path = "a/b", "/dev/volbridge/p/a/b" },
		"volume with newline": func(c *Connection) { c.Volume, c.Path = "a\nb", "/dev/volbridge/p/a\nb" },
		"no volume":           func(c *Connection) { c.Volume, c.Path = "", "/dev/volbridge/p" },
		"pool climbs":         func(c *Connection) { c.Pool, c.Path = "..", "/dev/v" },
		"long volume": func(c *Connection) {
			c.Volume = strings.Repeat("a", 256)
			c.Path = "/dev/volbridge/p/" + c.Volume
		},
		"no identity":     func(c *Connection) { c.Identity = "" },
		"no host":         func(c *Connection) { c.HostID = "" },
		"relative file":   func(c *Connection) { c.File = "disk.raw" },
		"file climbs":     func(c *Connection) { c.File = "/srv/p/v/../../etc/shadow" },
		"file with a tab": func(c *Connection) { c.File = "/srv/p/v/\tdisk.raw" },
	} {
		t.Run(name, func(t *testing.T) {
			c, l := good, newLoop(fakeHost(t))
			l.host.Dev = "/dev"
			spoil(&c)
			for call, err := range map[string]error{
				"attach": second(l.Attach(t.Context(), c)), "find": second(l.Find(t.Context(), c)),
				"detach": l.Detach(t.Context(), c), "grow": second(l.Grow(t.Context(), c)),
			} {
				if err == nil || errors.Is(err, ErrNotAttached) {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestMarkFitsTheKernel(t *testing.T) {
	c := Connection{HostID: strings.Repeat("x", 1000), Identity: "8f4b8a3e-1f0c-4c55-9d3e-0a1b2c3d4e5f"}
	if n := len(mark(c)); n != 59 {
		t.Errorf("the mark has %d bytes: %s", n, mark(c))
	}
	other := c
	other.HostID += "y"
	if mark(c) == mark(other) {
		t.Error("two hosts have the same mark")
	}
}

func TestUnknownProtocol(t *testing.T) {
	_, err := Attach(t.Context(), System(), Connection{Protocol: "carrier-pigeon", Pool: "p", Volume: "v"})
	if err == nil || !strings.Contains(err.Error(), `protocol "carrier-pigeon"; this volbridge has: loop`) {
		t.Errorf("%v", err)
	}
}

func TestMissingLoopModule(t *testing.T) {
	if _, err := freeLoop(fakeHost(t)); err == nil || !strings.Contains(err.Error(), "modprobe loop") {
		t.Errorf("%v", err)
	}
}
