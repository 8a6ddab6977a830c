package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/drivers"
)

const uuid = "4dea22b3-1d52-4df3-a516-782e98ab3fa0"

// build compiles the hook once, as it is released.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp(scratch, "bin-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "volbridge-hook")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// rig is a host with the compiled hook and one dir pool.
type rig struct {
	testing.TB
	program string
	pool    string // its name is unique: /dev is the machine's
	folder  string // of the pool and the state file
	backend pool.Backend
}

func newRig(t testing.TB) *rig {
	t.Helper()
	testenv.NeedRoot(t)
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	// On the disk, not in memory: what is written through must cost what it
	// costs on a host.
	dir := t.TempDir()
	r := &rig{TB: t, program: program, pool: fmt.Sprintf("hooktest%d", os.Getpid()), folder: dir}
	r.configure(fmt.Sprintf("state_dir = %q\nhost_name = \"kvm01\"\nhost_id = \"test\"\n[pool.%s]\ntype = \"dir\"\npath = %q\n",
		filepath.Join(dir, "state"), r.pool, filepath.Join(dir, "pool")))
	if err := os.Mkdir(filepath.Join(dir, "pool"), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.DefaultPath, drivers.All)
	if err != nil {
		t.Fatal(err)
	}
	if r.backend, err = cfg.OpenPools(bridge.ErrNoPool, nil).Open(r.pool); err != nil {
		t.Fatal(err)
	}
	if err := r.backend.(pool.Initialiser).Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clean)
	return r
}

func (r *rig) configure(text string) {
	r.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(config.DefaultPath), 0o755), os.WriteFile(config.DefaultPath, []byte(text), 0o600)); err != nil {
		r.Fatal(err)
	}
}

// clean fails the test if a device is left, and removes the empty folders.
func (r *rig) clean() {
	links, _ := filepath.Glob("/dev/volbridge/" + r.pool + "/*")
	for _, l := range links {
		r.Errorf("%s is left", l)
	}
	_ = os.Remove("/dev/volbridge/" + r.pool)
	_ = os.Remove("/dev/volbridge")
}

func (r *rig) volumes(n int) (names []string) {
	r.Helper()
	for i := range n {
		name := fmt.Sprintf("v%d", i)
		if _, err := r.backend.(pool.Provisioner).Create(r.Context(), pool.CreateRequest{Name: name, SizeBytes: 8 << 20}); err != nil {
			r.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func (r *rig) link(volume string) string { return "/dev/volbridge/" + r.pool + "/" + volume }

func (r *rig) domain(volumes ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<domain type='kvm'>\n  <name>web1</name>\n  <uuid>%s</uuid>\n  <devices>\n", uuid)
	for i, v := range volumes {
		fmt.Fprintf(&b, "    <disk type='block' device='disk'>\n      <driver name='qemu' type='raw'/>\n      <source dev='%s'/>\n      <target dev='vd%c' bus='virtio'/>\n    </disk>\n", r.link(v), 'a'+i)
	}
	return b.String() + "  </devices>\n</domain>\n"
}

// call runs the hook as libvirt does.
func (r *rig) call(xml, op, subOp string) (stdout, stderr string, exit int) {
	r.Helper()
	cmd := exec.Command(r.program, "web1", op, subOp, "-")
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(xml)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	var failed *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
		r.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func (r *rig) must(xml, op, subOp string) string {
	r.Helper()
	stdout, stderr, exit := r.call(xml, op, subOp)
	if exit != 0 || stderr != "" {
		r.Fatalf("%s %s: exit %d, %s", op, subOp, exit, stderr)
	}
	return stdout
}

// wantHeld fails unless this host has the devices and the grants.
func (r *rig) wantHeld(volumes ...string) {
	r.Helper()
	for _, v := range volumes {
		if info, err := os.Stat(r.link(v)); err != nil || info.Mode()&os.ModeDevice == 0 {
			r.Errorf("device of %s: %v, %v", v, info, err)
		}
		if h, err := r.backend.Holders(r.Context(), v); err != nil || len(h) != 1 || h[0].Host.Name != "kvm01" || h[0].Owner.UUID != uuid {
			r.Errorf("holders of %s: %v, %v", v, h, err)
		}
	}
}

// wantFree fails if anything of the volumes, or of any domain, is left.
func (r *rig) wantFree(volumes ...string) {
	r.Helper()
	for _, v := range volumes {
		if h, err := r.backend.Holders(r.Context(), v); err != nil || len(h) > 0 {
			r.Errorf("holders of %s: %v, %v", v, h, err)
		}
		if _, err := os.Lstat(r.link(v)); !os.IsNotExist(err) {
			r.Errorf("link of %s: %v", v, err)
		}
	}
	bound, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		r.Fatal(err)
	}
	for _, b := range bound {
		if file, _ := os.ReadFile(b); strings.HasPrefix(string(file), r.folder) {
			r.Errorf("%s is bound to %s", b, file)
		}
	}
	if hints, _ := filepath.Glob("/run/volbridge/domains/*"); len(hints) > 0 {
		r.Errorf("hints %q are left", hints)
	}
}
