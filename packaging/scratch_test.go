package packaging_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/testenv"
)

// scratch is a root in which packages are installed. Nothing of it outlives the
// test, and systemd does not run there.
type scratch struct {
	t   *testing.T
	dir string
}

// newScratch lays a writable layer over the root that the lab uses too.
func newScratch(t *testing.T) *scratch {
	t.Helper()
	lower := os.Getenv("VOLBRIDGE_CACHE")
	if lower == "" {
		lower = "../.cache"
	}
	lower, err := filepath.Abs(filepath.Join(lower, "trixie-root"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lower); err != nil {
		testenv.Missing(t, "scripts/trixie-root.sh")
	}
	return scratchOver(t, lower)
}

// scratchOver lays a writable layer over a root. The mounts are in a namespace
// of this test's thread, which ends with the test.
func scratchOver(t *testing.T, lower string) *scratch {
	t.Helper()
	testenv.NeedRoot(t)
	// Not unlocked: the thread ends with the goroutine, and its mounts with it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	s := &scratch{t, filepath.Join(base, "root")}
	mount := func(source, target, kind string, flags uintptr, data string) {
		t.Helper()
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			t.Fatalf("mount %s: %v", target, err)
		}
	}
	mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	// Not every file system can be the upper layer of an overlay; this one can.
	mount("tmpfs", base, "tmpfs", 0, "")
	for _, name := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount("overlay", s.dir, "overlay", 0, "lowerdir="+lower+",upperdir="+base+"/upper,workdir="+base+"/work")
	mount("proc", s.path("/proc"), "proc", 0, "")
	t.Cleanup(func() {
		for _, dir := range []string{s.path("/proc"), s.dir, base} {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", dir, err)
			}
		}
	})
	return s
}

func (s *scratch) path(name string) string { return filepath.Join(s.dir, name) }

// command runs in the root.
func (s *scratch) command(args ...string) *exec.Cmd {
	cmd := exec.Command("chroot", append([]string{s.dir}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "HOME=/root"}
	return cmd
}

// run must succeed; it returns what was said.
func (s *scratch) run(args ...string) (stdout, stderr string) {
	s.t.Helper()
	var out, err bytes.Buffer
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil {
		s.t.Fatalf("%s: %v: %s%s", strings.Join(args, " "), e, out.String(), err.String())
	}
	return out.String(), err.String()
}

// copyIn puts a file into /tmp of the root and returns its name there.
func (s *scratch) copyIn(file string) string {
	s.t.Helper()
	name := "/tmp/" + filepath.Base(file)
	output(s.t, "cp", file, s.path(name))
	return name
}

func (s *scratch) exists(name string) bool {
	_, err := os.Lstat(s.path(name))
	return err == nil
}

// files are all paths with their modes, without what dpkg and rpm note for
// themselves and what any program may leave.
func (s *scratch) files() map[string]fs.FileMode {
	s.t.Helper()
	list := map[string]fs.FileMode{}
	for _, top := range []string{"etc", "usr", "var", "run", "opt", "root"} {
		err := filepath.WalkDir(s.path(top), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(path, s.dir)
			switch name {
			case "/var/lib/dpkg", "/var/lib/rpm", "/usr/lib/sysimage", "/var/log", "/var/cache":
				return fs.SkipDir
			}
			info, err := e.Info()
			if err == nil {
				list[name] = info.Mode()
			}
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return list
}

// sameFiles reports what came and what went between two looks.
func sameFiles(t *testing.T, before, after map[string]fs.FileMode) {
	t.Helper()
	for name, mode := range after {
		if was, ok := before[name]; !ok {
			t.Errorf("%s was left", name)
		} else if was != mode {
			t.Errorf("%s had mode %v and has %v", name, was, mode)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			t.Errorf("%s was removed", name)
		}
	}
}
