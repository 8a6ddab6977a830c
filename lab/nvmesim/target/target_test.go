package target

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/nvmesim"
)

const (
	hostNQN      = "nqn.2014-08.org.nvmexpress:uuid:1"
	subsystemNQN = "nqn.array"
	sysRoot      = nvmesim.SysRoot
)

// rig is a target and one host that is a directory.
type rig struct {
	*Target
	t    *testing.T
	root string
	up   bool
}

func newRig(t *testing.T) *rig {
	testenv.NeedRoot(t)
	r := &rig{t: t, root: t.TempDir(), up: true}
	for _, dir := range []string{"dev/disk/by-id", sysRoot + "/class/nvme", sysRoot + "/class/nvme-subsystem", filepath.Dir(nvmesim.TruthFile("x"))} {
		if err := os.MkdirAll(filepath.Join(r.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r.Target, err = New(Options{
		SubsystemNQN: subsystemNQN,
		Host: func(name string) (string, error) {
			if name != "kvm01" || !r.up {
				return "", errors.New("down")
			}
			return r.root, nil
		},
		Knows: func(nqn string) bool { return nqn == hostNQN },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// volume is a namespace with a backing file; each letter makes another one.
func (r *rig) volume(letter string) flasharray.Namespace {
	r.t.Helper()
	serial := strings.Repeat(letter, 24)
	path := filepath.Join(r.root, serial)
	r.must(os.WriteFile(path, nil, 0o600))
	r.must(os.Truncate(path, 1<<20))
	return flasharray.Namespace{Serial: serial, NGUID: flasharray.NGUID(serial), SizeBytes: 1 << 20, File: path}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) greet() nvmesim.Welcome {
	return r.connect(nvmesim.Hello{Host: "kvm01", HostNQN: hostNQN, HostID: "1", SubsystemNQN: subsystemNQN}, "127.0.0.1:4420")
}

// sees fails unless the host has exactly these namespaces, as node → volume.
func (r *rig) sees(want map[string]flasharray.Namespace) {
	r.t.Helper()
	links, err := filepath.Glob(filepath.Join(r.root, "dev/disk/by-id/*"))
	r.must(err)
	nodes, err := filepath.Glob(filepath.Join(r.root, "dev/nvme*"))
	r.must(err)
	if len(links) != len(want) || len(nodes) != len(want) {
		r.t.Errorf("links %v, nodes %v, want %d of each", links, nodes, len(want))
	}
	for node, n := range want {
		to, err := os.Readlink(filepath.Join(r.root, "dev/disk/by-id/nvme-eui."+n.NGUID))
		if err != nil || to != "../../"+node {
			r.t.Errorf("%s: link to %q, %v", node, to, err)
		}
		dir := filepath.Join(r.root, sysRoot, "class/nvme-subsystem/nvme-subsys0", node)
		nguid, err := os.ReadFile(filepath.Join(dir, "nguid"))
		if err != nil || strings.ReplaceAll(strings.TrimSpace(string(nguid)), "-", "") != n.NGUID {
			r.t.Errorf("%s: nguid %q, %v", node, nguid, err)
		}
		dev, err := os.ReadFile(filepath.Join(dir, "dev"))
		have, _, numberErr := number(filepath.Join(r.root, "dev", node))
		if err != nil || numberErr != nil || strings.TrimSpace(string(dev)) != have {
			r.t.Errorf("%s: device %q, its node is %q: %v %v", node, dev, have, err, numberErr)
		}
	}
}

func (r *rig) truthOf(node string) (truth nvmesim.Truth) {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.root, nvmesim.TruthFile(node)))
	r.must(err)
	r.must(json.Unmarshal(text, &truth))
	return truth
}

type spaces = map[string]flasharray.Namespace

func TestANamespaceComesAndGoes(t *testing.T) {
	r := newRig(t)
	a, b := r.volume("A"), r.volume("B")
	r.must(r.Map(hostNQN, 1, a))
	r.sees(nil) // nobody is connected
	if w := r.greet(); w.Controller != "nvme0" {
		t.Fatalf("%+v", w)
	}
	if w := r.greet(); !w.There {
		t.Errorf("twice: %+v", w)
	}
	r.sees(spaces{"nvme0n1": a})
	r.must(r.Map(hostNQN, 2, b))
	r.must(r.Map("nqn.other", 1, b))
	r.sees(spaces{"nvme0n1": a, "nvme0n2": b})
	r.must(r.Unmap(hostNQN, 1, a))
	r.sees(spaces{"nvme0n2": b})
	r.must(r.Map(hostNQN, 5, a))
	r.sees(spaces{"nvme0n1": a, "nvme0n2": b})
}

func TestWhoIsLetIn(t *testing.T) {
	r := newRig(t)
	for what, h := range map[string]nvmesim.Hello{
		"does not allow":        {Host: "kvm01", HostNQN: "nqn.stranger", SubsystemNQN: subsystemNQN},
		"there is no subsystem": {Host: "kvm01", HostNQN: hostNQN, SubsystemNQN: "nqn.none"},
		"down":                  {Host: "kvm02", HostNQN: hostNQN, SubsystemNQN: subsystemNQN},
	} {
		if w := r.connect(h, "127.0.0.1:4420"); !strings.Contains(w.Refusal, what) {
			t.Errorf("%+v: %+v", h, w)
		}
	}
	if c := r.Controllers(); len(c) > 0 {
		t.Error(c)
	}
}

// A silent target changes what namespaces say of themselves, and nothing else
// until the host scans. An NSID that became another volume takes two scans.
func TestSilence(t *testing.T) {
	r := newRig(t)
	a, b := r.volume("A"), r.volume("B")
	r.greet()
	r.must(r.Map(hostNQN, 1, a))
	r.SetSilent(true)
	r.must(r.Unmap(hostNQN, 1, a))
	r.must(r.Map(hostNQN, 1, b))
	r.sees(spaces{"nvme0n1": a})
	if got := r.truthOf("nvme0n1"); got.NGUID != b.NGUID {
		t.Errorf("it says it is %s", got.NGUID)
	}
	controller := filepath.Join(r.root, sysRoot, "class/nvme/nvme0")
	r.rescan(controller)
	r.sees(nil)
	r.rescan(controller)
	r.sees(spaces{"nvme0n1": b})
}

func TestSize(t *testing.T) {
	r := newRig(t)
	a := r.volume("A")
	r.greet()
	r.must(r.Map(hostNQN, 1, a))
	a.SizeBytes = 2 << 20
	r.must(os.Truncate(a.File, a.SizeBytes))
	r.must(r.Resize(a))
	text, err := os.ReadFile(filepath.Join(r.root, sysRoot, "class/nvme-subsystem/nvme-subsys0/nvme0n1/size"))
	r.must(err)
	if strings.TrimSpace(string(text)) != "4096" || r.truthOf("nvme0n1").SizeBytes != 2<<20 {
		t.Errorf("%q, %+v", text, r.truthOf("nvme0n1"))
	}
}

func TestSwapIsSeenByWhoAsks(t *testing.T) {
	r := newRig(t)
	a, b := r.volume("A"), r.volume("B")
	r.greet()
	r.must(r.Swap(a.NGUID, b))
	r.must(r.Map(hostNQN, 1, a))
	r.sees(spaces{"nvme0n1": a})
	if got := r.truthOf("nvme0n1").NGUID; got != b.NGUID {
		t.Error(got)
	}
	r.must(r.Swap(a.NGUID, flasharray.Namespace{}))
	if got := r.truthOf("nvme0n1").NGUID; got != a.NGUID {
		t.Error(got)
	}
}

func TestAHostThatWentDownIsForgotten(t *testing.T) {
	r := newRig(t)
	a := r.volume("A")
	r.greet()
	r.must(r.Map(hostNQN, 1, a))
	r.up = false
	r.must(r.Unmap(hostNQN, 1, a))
	if c := r.Controllers(); len(c) > 0 {
		t.Error(c)
	}
}

// A listener in another network does not move this process there.
func TestListenIn(t *testing.T) {
	testenv.NeedRoot(t)
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		l, err := ListenIn(t.Context(), os.Getpid(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		l.Close()
	}
	if after, err := os.Readlink("/proc/self/ns/net"); err != nil || after != before {
		t.Errorf("%s, %v; it was %s", after, err, before)
	}
}
