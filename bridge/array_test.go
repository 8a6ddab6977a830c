package bridge_test

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

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/flasharray/flasharraytest"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/flasharray"
)

// fabric is what hosts see of an array: the stand-in's data path, and at the
// same time the transport that looks at it.
type fabric struct {
	mu    sync.Mutex
	shown map[string]bool // host NQN + NGUID
	held  map[string]bool // the same: handed over and not flushed since
	wrong []string
}

func (f *fabric) Map(nqn string, _ uint32, n lab.Namespace) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shown[nqn+n.NGUID] = true
	return nil
}

func (f *fabric) Unmap(nqn string, _ uint32, n lab.Namespace) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.shown, nqn+n.NGUID)
	if f.held[nqn+n.NGUID] {
		f.wrong = append(f.wrong, "volume "+n.Serial+" was taken away unflushed")
	}
	return nil
}

func (f *fabric) Resize(lab.Namespace) error { return nil }
func (f *fabric) Remove(lab.Namespace) error { return nil }

func (f *fabric) For(blockdev.Protocol) (blockdev.Transport, error) { return f, nil }
func (f *fabric) Present(string) bool                               { return true }

func (f *fabric) Attach(_ context.Context, c blockdev.Connection) (blockdev.Device, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := c.NVMe.HostNQN + string(c.Identity)
	if !f.shown[key] {
		return blockdev.Device{}, errors.New("the array does not show the volume")
	}
	f.held[key] = true
	return blockdev.Device{Path: c.Path, Identity: c.Identity, SizeBytes: c.SizeBytes}, nil
}

func (f *fabric) Find(ctx context.Context, c blockdev.Connection) (blockdev.Device, error) {
	return f.Attach(ctx, c)
}

func (f *fabric) Detach(context.Context, blockdev.Connection) error {
	return errors.New("not for this transport")
}

func (f *fabric) Flush(_ context.Context, c blockdev.Connection) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, c.NVMe.HostNQN+string(c.Identity))
	return nil
}

func (f *fabric) Gone(_ context.Context, c blockdev.Connection) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shown[c.NVMe.HostNQN+string(c.Identity)] {
		return errors.New("the device is still there")
	}
	return nil
}

// site is a host, or two, and an array.
type site struct {
	*testing.T
	flasharraytest.Served
	fabric *fabric
}

const (
	guestUUID = "11111111-1111-4111-8111-111111111111"
	token     = "very-secret-token-of-the-array"
)

func hostNQN(name string) string { return "nqn.2014-08.org.nvmexpress:uuid:" + name }

func newSite(t *testing.T, group bool) *site {
	t.Helper()
	s := &site{T: t, fabric: &fabric{shown: map[string]bool{}, held: map[string]bool{}}}
	s.Served = flasharraytest.Start(t, lab.Options{APIToken: token, DataPath: s.fabric, Portals: []string{"192.0.2.10"}})
	for _, name := range []string{"kvm01", "kvm02"} {
		s.AddHost(name, hostNQN(name))
	}
	if group {
		s.AddGroup("group1", "kvm01", "kvm02")
	}
	return s
}

// host opens a host anew, as another process of it.
func (s *site) host(name, dir string, group bool) (*bridge.Bridge, *state.Store) {
	s.Helper()
	settings := flasharray.Driver.Settings().(*flasharray.Settings)
	settings.Address, settings.CAFile = strings.TrimPrefix(s.URL, "https://"), s.CAFile
	settings.APIToken, settings.SessionDir = config.NewSecret(token), ""
	if group {
		settings.HostGroup = "group1"
	}
	backend, err := flasharray.Driver.Open("flash", settings, logrus.NewEntry(logrus.New()))
	s.must(err)
	store, err := state.Open(s.Context(), filepath.Join(dir, "state.db"), "boot-1")
	s.must(err)
	s.Cleanup(func() { store.Close() })
	return &bridge.Bridge{
		Host: pool.Host{Name: name, ID: "id-" + name, NQN: hostNQN(name)}, BootID: "boot-1",
		Pools: onePool{backend}, Store: store, Devices: s.fabric,
		Locks: bridge.FileLocks{Dir: filepath.Join(dir, "locks")}, Hints: bridge.FileHints(filepath.Join(dir, "domains")),
	}, store
}

type onePool struct{ backend pool.Backend }

func (onePool) Names() []string                     { return []string{"flash"} }
func (p onePool) Open(string) (pool.Backend, error) { return p.backend, nil }
func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) document(path string) *domainxml.Document {
	s.Helper()
	doc, err := domainxml.Parse([]byte(`<domain type='kvm'><name>web1</name><uuid>` + guestUUID + `</uuid><devices><disk type='block' device='disk'>
		<driver name='qemu' type='raw'/><source dev='` + path + `'/><target dev='vda' bus='virtio'/></disk></devices></domain>`))
	s.must(err)
	return doc
}

// whole is one operation of a host, from the hook's side.
type whole struct {
	name   string
	before func(context.Context, *bridge.Bridge, *domainxml.Document) error
	source bool // the guest runs on the other host
	do     func(context.Context, *bridge.Bridge, *domainxml.Document) error
	holds  bool // after it the host has the volume
}

func start(ctx context.Context, b *bridge.Bridge, d *domainxml.Document) error {
	return b.Start(ctx, d)
}

func release(ctx context.Context, b *bridge.Bridge, _ *domainxml.Document) error {
	return b.Release(ctx, guestUUID, nil, bridge.Stop{Reason: "destroyed"})
}

func arrive(ctx context.Context, b *bridge.Bridge, d *domainxml.Document) error {
	_, err := b.Arrive(ctx, d)
	return err
}

func restore(ctx context.Context, b *bridge.Bridge, d *domainxml.Document) error {
	_, err := b.Restore(ctx, d)
	return err
}

var wholes = []whole{
	{name: "start", do: start, holds: true},
	{name: "arrive", source: true, do: arrive, holds: true},
	{name: "restore", do: restore, holds: true},
	{name: "release", before: start, do: release},
}

// TestEveryCallMeetsEveryFault: from the hook down to a stand-in of the array,
// each call of each operation meets each fault. Then the operation is done, or
// it failed and, once the array answers again and recovery has run, nothing is
// left of it: no connection, no claim, no device, no record.
func TestEveryCallMeetsEveryFault(t *testing.T) {
	for _, group := range []bool{false, true} {
		for _, op := range wholes {
			for _, kind := range lab.FaultKinds() {
				t.Run(fmt.Sprintf("%s/%s/group=%v", op.name, kind, group), func(t *testing.T) {
					t.Parallel()
					n := 1
					for op.meets(t, group, kind, n) {
						n++
					}
					if n < 3 {
						t.Errorf("only %d calls", n-1)
					}
				})
			}
		}
	}
}

func (op whole) meets(t *testing.T, group bool, kind lab.FaultKind, n int) bool {
	s := newSite(t, group)
	dir, err := os.MkdirTemp("/dev/shm", "volbridge-test-")
	s.must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, _ := s.host("kvm01", dir, group)
	backend, err := b.Pools.Open("flash")
	s.must(err)
	v, err := backend.(pool.Provisioner).Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: 1 << 20, CreationID: "mine"})
	s.must(err)
	doc := s.document("/dev/disk/by-id/nvme-eui." + string(v.Identity))
	if op.source {
		other, _ := s.host("kvm02", filepath.Join(dir, "other"), group)
		s.must(other.Start(t.Context(), doc))
	}
	if op.before != nil {
		s.must(op.before(t.Context(), b, doc))
	}
	b, store := s.host("kvm01", dir, group)
	s.ForgetCalls()
	s.FailAt(n, lab.Fault{Kind: kind, Delay: 5 * time.Millisecond})
	err = op.do(t.Context(), b, doc)
	s.ClearFaults()
	struck := ""
	for _, c := range s.Calls() {
		if c.Fault != "" {
			struck = fmt.Sprintf("call %d, %s", n, c)
		}
	}
	if struck == "" {
		s.must(err)
		return false
	}
	if err != nil {
		for _, says := range []string{"disk vda of domain web1", "flash", "FlashArray 127.0.0.1:"} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: the error does not say %q: %v", struck, says, err)
			}
		}
		if strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token", struck)
		}
		s.recover(struck, dir, group)
	}
	s.judge(struck, store, op.holds && err == nil, op.source, group)
	return true
}

// recover gives back what the records name, as `volbridge recover` does once
// libvirt says that the domain is not here.
func (s *site) recover(struck, dir string, group bool) {
	s.Helper()
	b, store := s.host("kvm01", dir, group)
	records, err := store.All(s.Context())
	s.must(err)
	for _, a := range records {
		if err := b.ReleaseAttachment(s.Context(), a); err != nil {
			s.Errorf("%s: recovery: %v", struck, err)
		}
	}
}

// judge compares array, device and records with what must be.
func (s *site) judge(struck string, store *state.Store, holds, source, group bool) {
	s.Helper()
	v, _ := s.Volume("vm1")
	var want []string
	if holds && !group {
		want = append(want, "kvm01")
	}
	if source && !group {
		want = append(want, "kvm02")
	}
	if fmt.Sprint(v.Hosts) != fmt.Sprint(want) {
		s.Errorf("%s: connected to %v, want %v", struck, v.Hosts, want)
	}
	claims := 0
	for key := range v.Tags {
		if strings.HasPrefix(key, "volbridge/h.") {
			claims++
		}
	}
	wantClaims := 0
	for _, is := range []bool{holds, source} {
		if is {
			wantClaims++
		}
	}
	if claims != wantClaims {
		s.Errorf("%s: %d claims, want %d: %v", struck, claims, wantClaims, v.Tags)
	}
	records, err := store.All(s.Context())
	s.must(err)
	if has := len(records) > 0; has != holds {
		s.Errorf("%s: records %+v", struck, records)
	}
	if len(s.fabric.wrong) > 0 {
		s.Errorf("%s: %v", struck, s.fabric.wrong)
	}
}
