package clusters

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/lab/linstor"
)

// rig is two hosts that are only directories, with one volume on both.
type rig struct {
	*testing.T
	*Nodes
	dir  string
	a, b linstor.Resource
}

func newRig(t *testing.T) *rig {
	t.Helper()
	testenv.NeedRoot(t)
	r := &rig{T: t, dir: t.TempDir()}
	state, err := drbdsim.New(filepath.Join(r.dir, "drbd"), os.Args[0], "a", "b")
	r.must(err)
	for _, h := range []string{"a", "b"} {
		r.must(os.MkdirAll(filepath.Join(r.dir, h, "dev"), 0o755))
	}
	r.Nodes, err = newNodes(t.Context(), state, []string{"a", "b"}, func(h string) (string, error) { return filepath.Join(r.dir, h), nil })
	r.must(err)
	t.Cleanup(func() { r.must(r.close()) })
	r.a = linstor.Resource{Name: "r0", Node: "a", SizeBytes: 1 << 20, Diskful: true, Minor: 7, Peers: []string{"b"}}
	r.b = r.a
	r.b.Node, r.b.Diskful, r.b.Peers = "b", false, []string{"a"}
	r.must(r.Deploy(r.a))
	r.must(r.Deploy(r.b))
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) path(host string) string { return filepath.Join(r.dir, host, "dev/drbd1007") }

// open opens the device of a host as one that writes does.
func (r *rig) open(host string) *os.File {
	r.Helper()
	f, err := os.OpenFile(r.path(host), os.O_RDWR, 0)
	r.must(err)
	r.Cleanup(func() { f.Close() })
	return f
}

// writers fails unless exactly these hosts can write, in the eyes of the kernel
// and of the tools.
func (r *rig) writers(want ...string) {
	r.Helper()
	s, err := r.State()
	r.must(err)
	var can, are []string
	for _, host := range []string{"a", "b"} {
		f, err := os.Open(r.path(host))
		r.must(err)
		readOnly, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)
		r.must(errors.Join(err, f.Close()))
		if readOnly == 0 {
			can = append(can, host)
		}
		if s.Resources["r0"].Hosts[host].Role == drbdsim.Primary {
			are = append(are, host)
		}
	}
	if fmt.Sprint(can) != fmt.Sprint(want) || fmt.Sprint(are) != fmt.Sprint(want) {
		r.Errorf("%v can write, and %v are primary, want %v", can, are, want)
	}
}

// Who has not opened the device yields, who has stays.
func TestOneWriter(t *testing.T) {
	r := newRig(t)
	r.writers()
	r.must(r.Available(r.a))
	r.writers("a")
	r.must(r.Available(r.b))
	r.writers("b")
	f := r.open("b")
	if open, err := r.InUse(r.b); !open || err != nil {
		t.Errorf("in use: %v, %v", open, err)
	}
	r.must(r.Available(r.a))
	r.writers("b")
	if _, err := f.Write(make([]byte, 512)); err != nil {
		t.Errorf("who stays cannot write any more: %v", err)
	}
	if err := r.Remove(r.b); err == nil || !strings.Contains(err.Error(), "held open") {
		t.Errorf("removed while it is open: %v", err)
	}
	r.must(f.Close())

	// What this machine looks into is not open on a host.
	loop, err := os.Open(r.devices[place{r.b.Name, r.b.Node}].readOnly.node)
	r.must(err)
	defer loop.Close()
	if open, err := r.InUse(r.b); open || err != nil {
		t.Errorf("in use because the machine looks into the loop device: %v, %v", open, err)
	}
	r.must(r.Available(r.a))
	r.writers("a")
}

// Two write while that is allowed, and it does not end before one yields.
func TestTwoPrimaries(t *testing.T) {
	r := newRig(t)
	r.must(r.Available(r.a))
	source := r.open("a")
	r.must(r.Available(r.b))
	r.writers("a")
	r.must(r.TwoPrimaries(r.a, r.b, true))
	r.writers("a", "b")
	destination := r.open("b")
	if err := r.TwoPrimaries(r.a, r.b, false); err == nil || !strings.Contains(err.Error(), "(164)") {
		t.Errorf("two are open, and only one is allowed: %v", err)
	}
	r.writers("a", "b")
	r.must(source.Close())
	r.must(r.TwoPrimaries(r.a, r.b, false))
	r.writers("b")

	// A move that broke off: the source has it open, the destination was made
	// available last.
	r.must(r.TwoPrimaries(r.a, r.b, true))
	r.must(destination.Close())
	source = r.open("a")
	r.must(r.TwoPrimaries(r.a, r.b, false))
	r.writers("a")
	r.must(source.Close())

	// Neither has it open: the last one may.
	for _, last := range []linstor.Resource{r.a, r.b} {
		r.must(r.Available(last))
		r.must(r.TwoPrimaries(r.a, r.b, true))
		r.must(r.TwoPrimaries(r.a, r.b, false))
		r.writers(last.Node)
	}
}

// What is written on one host is read on the other, and the last that leaves
// takes the data along.
func TestLifeOfAVolume(t *testing.T) {
	r := newRig(t)
	r.must(r.Deploy(r.a)) // again
	r.must(r.Available(r.a))
	f := r.open("a")
	if _, err := f.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	r.must(errors.Join(f.Sync(), f.Close()))
	for _, replica := range []*linstor.Resource{&r.a, &r.b} {
		replica.SizeBytes *= 2
	}
	r.must(r.Resize([]linstor.Resource{r.a, r.b}))
	data, err := os.ReadFile(filepath.Join(r.dir, "b/dev/drbd/by-res/r0/0"))
	r.must(err)
	if len(data) != 2<<20 || !strings.HasPrefix(string(data), "hello") {
		t.Errorf("%d bytes that begin with %q", len(data), data[:5])
	}
	r.must(r.Remove(r.b))
	r.a.Peers = nil
	r.must(r.Remove(r.a))
	r.must(r.Remove(r.a)) // again
	if out, err := losetup(context.Background(), "--list", "--noheadings", "--associated", r.File("r0")); out != "" || err != nil {
		t.Errorf("bound: %q, %v", out, err)
	}
	for _, pattern := range []string{"drbd/data/*", "*/dev/drbd*/by-res/*", "*/dev/drbd1*", "drbd/*/nodes/*"} {
		if left, err := filepath.Glob(filepath.Join(r.dir, pattern)); len(left) > 0 || err != nil {
			t.Errorf("left: %v, %v", left, err)
		}
	}
	if s, err := r.State(); err != nil || len(s.Resources) > 0 {
		t.Errorf("left: %v, %v", s.Resources, err)
	}
}
