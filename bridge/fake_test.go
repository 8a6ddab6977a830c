package bridge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

const mib = 1 << 20

var errInjected = errors.New("injected")

// world is the pools and hosts of a test. Every act of a host on it is a step;
// faults strike at a step.
type world struct {
	t *testing.T

	mu      sync.Mutex
	volumes map[string]*volume // "pool/name"
	devices map[string]bool    // host name + path
	broken  []string           // rules that were broken

	steps  []string
	fault  fault
	at     int // the step that it strikes, from 0; -1: none
	struck bool
	dead   bool // the process has crashed: nothing happens any more
	inUse  map[string]bool

	silent  bool   // the array's management does not answer
	refuses func() // is called when a grant is refused
	mute    bool   // nor here, where what this host remembers is enough to look a volume up
	// serials are the ends of device paths of pool array where they are not the
	// volume's name.
	serials map[string]string
	// silentConfirm: it does not from a Confirm on.
	silentConfirm bool
	// replyLost: it answers no revoke any more, but does it.
	replyLost bool
	lookups   chan struct{}   // rings at each look-up of a path on a silent array
	flushed   map[string]bool // host name + path, of pool array

	onDisk map[string][]state.Attachment // what a power cut leaves in a host's folder
}

// foreignDir begins the paths that another transport gives to volumes of fast,
// arrayDir those of pool array, whose devices only the array takes away.
const (
	foreignDir = "/dev/disk/by-id/wwn-0xfake-"
	arrayDir   = "/dev/disk/by-id/nvme-eui.fake-"
)

type volume struct {
	sizeBytes   int64
	deviceBytes int64 // what the device has, if it differs
	remembered  int64 // what the pool tells of the size, once in Connection and once in Grant, if it differs
	told        [2]bool
	holders     []pool.Holder
	kept        bool // the connection was there before; only a grant says so
}

// fault is what happens at a step.
type fault int

const (
	failBefore  fault = iota // an error, nothing was done
	failAfter                // an error, but it was done: a lost reply
	crashBefore              // the process is dead before the step
	crashAfter               // and after it
)

func newWorld(t *testing.T, volumes ...string) *world {
	w := &world{t: t, volumes: map[string]*volume{}, devices: map[string]bool{}, inUse: map[string]bool{},
		flushed: map[string]bool{}, onDisk: map[string][]state.Attachment{}, at: -1, lookups: make(chan struct{}, 1)}
	for _, v := range volumes {
		w.volumes[v] = &volume{sizeBytes: 16 * mib}
	}
	t.Cleanup(func() {
		for _, b := range w.broken {
			t.Errorf("rule broken: %s", b)
		}
	})
	return w
}

// step does one act under the fault of the test.
func (w *world) step(name string, do func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errInjected
	}
	n := len(w.steps)
	w.steps = append(w.steps, name)
	if n != w.at {
		return do()
	}
	w.struck = true
	err := fmt.Errorf("%s: %w", name, errInjected)
	switch w.fault {
	case failBefore:
		return err
	case failAfter:
		return errors.Join(err, do())
	case crashBefore:
		w.dead = true
		return err
	default:
		w.dead = true
		return errors.Join(err, do())
	}
}

// inject lets a fault strike at step n, counted from now.
func (w *world) inject(f fault, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps, w.fault, w.at, w.struck = nil, f, n, false
}

// reborn ends faults: the process was started again.
func (w *world) reborn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead, w.at = false, -1
}

// has says what is there on a host.
func (w *world) has(host, volume string) (device, granted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.volumes[volume]
	path := LinkDir + volume
	if name, is := strings.CutPrefix(volume, "array/"); is {
		path = arrayDir + name
	}
	return w.devices[host+":"+path], v != nil && slices.ContainsFunc(v.holders, func(h pool.Holder) bool { return h.Host.Name == host })
}

func (w *world) breaks(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// testHost is one host with its own state file.
type testHost struct {
	*Bridge
	w     *world
	store *state.Store
	hints FileHints
	dir   string
}

func (w *world) host(name string) *testHost {
	w.t.Helper()
	return w.bootedHost(name, memoryDir(w.t), "boot-1")
}

// memoryDir is a folder of the test where writing through costs nothing.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "volbridge-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (w *world) bootedHost(name, dir, bootID string) *testHost {
	w.t.Helper()
	store, err := state.Open(w.t.Context(), filepath.Join(dir, "state.db"), bootID)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { store.Close() })
	h := &testHost{w: w, store: store, dir: dir, hints: FileHints(filepath.Join(dir, "domains"))}
	h.Bridge = &Bridge{
		Host: pool.Host{Name: name, ID: "id-" + name}, BootID: bootID,
		Pools: fakePools{w, name}, Store: stepStore{w, dir, store}, Locks: FileLocks{Dir: filepath.Join(dir, "locks")},
		Devices: fakeDevices{w, name}, Hints: h.hints, UndoTimeout: 10 * time.Second,
	}
	return h
}

type fakePools struct {
	w    *world
	host string
}

func (p fakePools) Names() []string { return []string{"array", "fast", "slow", "closed"} }

func (p fakePools) Open(name string) (pool.Backend, error) {
	switch name {
	case "fast", "slow", "array":
		return fakeBackend{p.w, name}, nil
	case "closed":
		return nil, errors.New("open pool closed: no such directory")
	}
	return nil, fmt.Errorf("pool %q: %w", name, ErrNoPool)
}

type fakeBackend struct {
	w    *world
	name string
}

func (b fakeBackend) find(name string) (*volume, error) {
	if v, ok := b.w.volumes[b.name+"/"+name]; ok {
		return v, nil
	}
	return nil, fmt.Errorf("volume %s/%s: %w", b.name, name, pool.ErrNotFound)
}

func (w *world) serial(volume string) string {
	if s, is := w.serials[volume]; is {
		return s
	}
	return volume
}

// named is the name of the volume with a serial.
func (w *world) named(serial string) string {
	for name, s := range w.serials {
		if s == serial {
			return name
		}
	}
	if w.serial(serial) == serial {
		return serial
	}
	return "no volume has serial " + serial
}

func (b fakeBackend) Lookup(_ context.Context, name string) (pool.Volume, error) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	v, err := b.find(name)
	if err != nil {
		return pool.Volume{}, err
	}
	return pool.Volume{Pool: b.name, Name: name, SizeBytes: v.sizeBytes}, nil
}

func (b fakeBackend) LookupPath(ctx context.Context, path string) (pool.Volume, error) {
	name, ours := strings.CutPrefix(path, LinkDir+b.name+"/")
	switch b.name {
	case "array":
		if name, ours = strings.CutPrefix(path, arrayDir); ours {
			name = b.w.named(name)
		}
	case "fast":
		if other, is := strings.CutPrefix(path, foreignDir); is {
			name, ours = other, true
		}
	}
	if !ours {
		return pool.Volume{}, pool.ErrNotFound
	}
	if err := b.answers(); err != nil {
		select {
		case b.w.lookups <- struct{}{}:
		default:
		}
		return pool.Volume{}, err
	}
	return b.Lookup(ctx, name)
}

// answers fails where the management of the array is silent.
func (b fakeBackend) answers() error {
	if b.name == "array" && b.w.silent {
		return fmt.Errorf("array 10.0.0.1: %w: connection refused", pool.ErrUnreachable)
	}
	return nil
}

// changes is answers where nothing that is remembered helps.
func (b fakeBackend) changes() error {
	if b.name == "array" && b.w.mute {
		return fmt.Errorf("array 10.0.0.1: %w: connection refused", pool.ErrUnreachable)
	}
	return b.answers()
}

func (b fakeBackend) List(context.Context) ([]pool.Volume, error) { return nil, nil }

func (b fakeBackend) conn(name string, v *volume) pool.Connection {
	if b.name == "array" {
		return pool.Connection{Protocol: blockdev.NVMeTCP, Pool: b.name, Volume: name, SizeBytes: v.sizeBytes,
			Identity: blockdev.Identity("nguid-" + b.w.serial(name)), Path: arrayDir + b.w.serial(name)}
	}
	return pool.Connection{Protocol: blockdev.Loop, Pool: b.name, Volume: name, SizeBytes: v.sizeBytes, Path: LinkDir + b.name + "/" + name}
}

func (b fakeBackend) Connection(_ context.Context, name string, _ pool.Host) (c pool.Connection, err error) {
	err = b.w.step("connection "+name, func() error {
		if err := b.answers(); err != nil {
			return err
		}
		v, err := b.find(name)
		if err == nil {
			c = v.tell(0, b.conn(name, v))
		}
		return err
	})
	return c, err
}

// tell gives the remembered size once for each kind of call.
func (v *volume) tell(call int, c pool.Connection) pool.Connection {
	if v.remembered > 0 && !v.told[call] {
		c.SizeBytes, v.told[call] = v.remembered, true
	}
	return c
}

func (b fakeBackend) Grant(_ context.Context, r pool.GrantRequest) (c pool.Connection, err error) {
	err = b.w.step("grant "+r.Volume, func() error {
		if err := b.changes(); err != nil {
			return err
		}
		v, err := b.find(r.Volume)
		if err != nil {
			return err
		}
		if in := r.Conflicts(v.holders); len(in) > 0 {
			if b.w.refuses != nil {
				b.w.refuses()
			}
			return &pool.HeldError{Pool: b.name, Volume: r.Volume, Holders: in, Request: &r}
		}
		i := slices.IndexFunc(v.holders, func(h pool.Holder) bool { return h.Host.ID == r.Host.ID })
		if i < 0 {
			v.holders = append(v.holders, pool.Holder{Host: r.Host, Owner: r.Owner, Mode: r.Mode, BootID: r.BootID})
		} else {
			v.holders[i].Host, v.holders[i].BootID = r.Host, r.BootID
		}
		c = v.tell(1, b.conn(r.Volume, v))
		c.Lasting = v.kept
		return nil
	})
	if err != nil {
		c = pool.Connection{}
	}
	return c, err
}

// Confirm implements pool.Confirmer.
func (b fakeBackend) Confirm(_ context.Context, r pool.GrantRequest) (c pool.Connection, err error) {
	err = b.w.step("confirm "+r.Volume, func() error {
		if b.w.silentConfirm {
			return pool.ErrUnreachable
		}
		if err := b.changes(); err != nil {
			return err
		}
		v, err := b.find(r.Volume)
		if err != nil {
			return err
		}
		if len(r.Conflicts(v.holders)) > 0 || !slices.ContainsFunc(v.holders, func(h pool.Holder) bool {
			return h.Host.ID == r.Host.ID && h.BootID == r.BootID && h.Owner == r.Owner && h.Mode == r.Mode
		}) {
			return errors.New("the grant does not stand")
		}
		c = b.conn(r.Volume, v)
		return nil
	})
	return c, err
}

func (b fakeBackend) Revoke(_ context.Context, r pool.RevokeRequest) error {
	name, host := r.Volume, r.Host
	return b.w.step("revoke "+name, func() error {
		if err := b.changes(); err != nil {
			return err
		}
		v, err := b.find(name)
		if err != nil {
			return nil
		}
		at := host.Name + ":" + b.conn(name, v).Path
		switch there := b.w.devices[at]; {
		case there && b.name != "array":
			b.w.breaks("%s revoked from %s while its device is there", name, host.Name)
		case there && !b.w.flushed[at]:
			b.w.breaks("%s revoked from %s before its device was flushed", name, host.Name)
		}
		for _, h := range v.holders {
			if h.Host.ID == host.ID && !r.Covers(h.BootID) {
				return pool.ErrOtherBoot
			}
		}
		v.holders = slices.DeleteFunc(v.holders, func(h pool.Holder) bool { return h.Host.ID == host.ID })
		return b.lost()
	})
}

func (b fakeBackend) Holders(_ context.Context, name string) (holders []pool.Holder, err error) {
	err = b.w.step("holders "+name, func() error {
		v, err := b.find(name)
		if err == nil {
			holders = slices.Clone(v.holders)
		}
		return err
	})
	return holders, err
}

type fakeDevices struct {
	w    *world
	host string
}

func (d fakeDevices) For(p blockdev.Protocol) (blockdev.Transport, error) {
	if p == blockdev.NVMeTCP {
		return fakeRemover{fakeTransport(d)}, nil
	}
	return fakeTransport(d), nil
}

// fakeRemover is a transport whose devices go with the grant.
type fakeRemover struct{ fakeTransport }

func (t fakeRemover) Detach(_ context.Context, c blockdev.Connection) error {
	t.w.breaks("%s detached from %s before the array let go of it", c.Volume, t.host)
	return nil
}

func (t fakeRemover) Flush(_ context.Context, c blockdev.Connection) error {
	return t.w.step("flush "+c.Volume, func() error {
		if t.w.inUse[c.Volume] {
			return blockdev.ErrInUse
		}
		t.w.flushed[t.host+":"+c.Path] = true
		return nil
	})
}

func (t fakeRemover) Gone(_ context.Context, c blockdev.Connection) error {
	return t.w.step("gone "+c.Volume, func() error {
		v := t.w.volumes[c.Pool+"/"+c.Volume]
		if v != nil && slices.ContainsFunc(v.holders, func(h pool.Holder) bool { return h.Host.Name == t.host }) {
			t.w.breaks("waited on %s for %s to go while it is granted", t.host, c.Volume)
		}
		delete(t.w.devices, t.host+":"+c.Path)
		delete(t.w.flushed, t.host+":"+c.Path)
		return nil
	})
}

func (d fakeDevices) Present(path string) bool {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	return d.w.devices[d.host+":"+path]
}

type fakeTransport fakeDevices

func (t fakeTransport) Attach(_ context.Context, c blockdev.Connection) (d blockdev.Device, err error) {
	err = t.w.step("attach "+c.Volume, func() error {
		v := t.w.volumes[c.Pool+"/"+c.Volume]
		if v == nil || !slices.ContainsFunc(v.holders, func(h pool.Holder) bool { return h.Host.Name == t.host }) {
			t.w.breaks("%s attached on %s without a grant", c.Volume, t.host)
		}
		if v != nil && v.remembered > 0 && c.SizeBytes != v.sizeBytes {
			return fmt.Errorf("%w: it has %d bytes", blockdev.ErrWrongDevice, v.sizeBytes)
		}
		t.w.devices[t.host+":"+c.Path] = true
		delete(t.w.flushed, t.host+":"+c.Path)
		d = blockdev.Device{Path: c.Path, SizeBytes: c.SizeBytes}
		if v != nil && v.deviceBytes > 0 {
			d.SizeBytes = v.deviceBytes
		}
		return nil
	})
	return d, err
}

func (t fakeTransport) Find(context.Context, blockdev.Connection) (blockdev.Device, error) {
	return blockdev.Device{}, errors.New("not used")
}

func (t fakeTransport) Detach(_ context.Context, c blockdev.Connection) error {
	return t.w.step("detach "+c.Volume, func() error {
		if t.w.inUse[c.Volume] {
			return blockdev.ErrInUse
		}
		delete(t.w.devices, t.host+":"+c.Path)
		return nil
	})
}

// stepStore makes steps of what is written to the real store.
type stepStore struct {
	w   *world
	dir string
	*state.Store
}

// synced is a write that waits for the disk: from then on a power cut leaves the
// records as they are.
func (s stepStore) synced(write func() error) func() error {
	return func() error {
		err := write()
		all, failed := s.Store.All(context.Background())
		s.w.onDisk[s.dir] = all
		return errors.Join(err, failed)
	}
}

func (s stepStore) Claim(ctx context.Context, a state.Attachment) (existing state.Attachment, had bool, err error) {
	err = s.w.step("claim "+a.Volume, s.synced(func() (err error) {
		existing, had, err = s.Store.Claim(ctx, a)
		return err
	}))
	return existing, had, err
}

func (s stepStore) Update(ctx context.Context, a state.Attachment) error {
	return s.w.step(fmt.Sprintf("update %s %s", a.Volume, a.Phase), s.synced(func() error { return s.Store.Update(ctx, a) }))
}

func (s stepStore) Forget(ctx context.Context, k state.Key) error {
	return s.w.step("forget "+k.Volume, func() error { return s.Store.Forget(ctx, k) })
}

const (
	uuid1 = "11111111-1111-4111-8111-111111111111"
	uuid2 = "22222222-2222-4222-8222-222222222222"
)

// domain makes a document; each disk is the content of a <disk> element,
// target vda, vdb, … and <disk> attributes up to the first '|'.
func domain(t testing.TB, uuid, metadata string, disks ...string) *domainxml.Document {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "<domain type='kvm'>\n  <name>web%s</name>\n  <uuid>%s</uuid>\n", uuid[:1], uuid)
	if metadata != "" {
		fmt.Fprintf(&b, "  <metadata>\n    <volbridge:domain xmlns:volbridge='%s'>%s</volbridge:domain>\n  </metadata>\n", domainxml.Namespace, metadata)
	}
	b.WriteString("  <devices>\n")
	for i, d := range disks {
		attrs, content, _ := strings.Cut(d, "|")
		fmt.Fprintf(&b, "    <disk device='disk' %s>\n      %s\n      <target dev='vd%c' bus='virtio'/>\n    </disk>\n", attrs, content, 'a'+i)
	}
	b.WriteString("  </devices>\n</domain>\n")
	return parsed(t, []byte(b.String()))
}

func parsed(t testing.TB, xml []byte) *domainxml.Document {
	t.Helper()
	doc, err := domainxml.Parse(xml)
	if err != nil {
		t.Fatalf("%v\n%s", err, xml)
	}
	return doc
}

// block is a disk on the link of a volume, "pool/name".
func block(volume string) string {
	if name, is := strings.CutPrefix(volume, "array/"); is {
		return "type='block'|<driver name='qemu' type='raw'/><source dev='" + arrayDir + name + "'/>"
	}
	return "type='block'|<driver name='qemu' type='raw'/><source dev='" + LinkDir + volume + "'/>"
}

// records returns the phases of a domain's records by volume.
func (h *testHost) records(uuid string) map[string]state.Attachment {
	h.w.t.Helper()
	list, err := h.store.Domain(context.Background(), uuid)
	if err != nil {
		h.w.t.Fatal(err)
	}
	found := map[string]state.Attachment{}
	for _, a := range list {
		found[a.Pool+"/"+a.Volume] = a
	}
	return found
}

// cancelling ends a context as soon as a transport is asked for.
type cancelling struct {
	Devices
	cancel func()
}

func (c cancelling) For(p blockdev.Protocol) (blockdev.Transport, error) {
	c.cancel()
	return c.Devices.For(p)
}

func (s stepStore) ClaimAll(ctx context.Context, list []state.Attachment) error {
	return s.w.step("claim all", s.synced(func() error { return s.Store.ClaimAll(ctx, list) }))
}

func (s stepStore) UpdateAll(ctx context.Context, list []state.Attachment) error {
	return s.w.step("update all", s.synced(func() error { return s.Store.UpdateAll(ctx, list) }))
}

func (s stepStore) UpdateSoon(ctx context.Context, list []state.Attachment) error {
	return s.w.step("update all soon", func() error { return s.Store.UpdateSoon(ctx, list) })
}
