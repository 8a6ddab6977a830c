package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// world is two hosts, a pool and a journal that obey the rules of the real
// ones, and a counter of everything that can go wrong: each outside call is a
// point at which it may fail, lose its reply, or be the process's last.
type world struct {
	mu      sync.Mutex
	guest   map[string]string // host → "", "stored", "running", "arriving", "leaving", "unconfirmed"
	xml     map[string]string // host → definition
	volumes map[string]*fakeVolume
	silent  string // the URIs of the daemons that do not answer
	mute    string // the host whose daemon does not say who uses a file
	journal *fakeJournal
	removed []string          // image files that were removed
	files   map[string]string // image file on the source → identity
	// slow makes a peer-to-peer migration whose client is lost stay under way
	// until land is called.
	slow bool
	land func()

	calls  int
	failAt int
	how    fault
}

type fault int

const (
	noFault   fault = iota
	failing         // the call does nothing and fails
	lostReply       // the call is done, and its reply is lost
	crashing        // the process dies before the call
	crashed         // the process dies after the call
)

func (f fault) String() string {
	return [...]string{"none", "fails", "loses its reply", "dies before", "dies after"}[f]
}

var errInjected = errors.New("injected failure")

// died unwinds a test's process at a crash.
type died struct{}

// point runs act as one outside call.
func (w *world) point(act func() error) error {
	w.mu.Lock()
	w.calls++
	hit := w.calls == w.failAt
	how := w.how
	w.mu.Unlock()
	if !hit {
		return act()
	}
	switch how {
	case failing:
		return errInjected
	case lostReply:
		if err := act(); err != nil {
			return err
		}
		return errInjected
	case crashing:
		panic(died{})
	}
	_ = act()
	panic(died{})
}

type fakeVolume struct {
	pool.Volume
	holders map[string]bool // host name
}

// fakePool is one pool that both hosts reach.
type fakePool struct{ w *world }

func (p fakePool) Lookup(_ context.Context, name string) (v pool.Volume, err error) {
	err = p.w.point(func() error {
		if there, ok := p.w.volumes[name]; ok {
			v = there.Volume
			return nil
		}
		return pool.ErrNotFound
	})
	return v, err
}

func (p fakePool) LookupPath(ctx context.Context, path string) (pool.Volume, error) {
	for name := range p.w.volumes {
		if path == "/dev/volbridge/fast/"+name {
			return p.Lookup(ctx, name)
		}
	}
	return pool.Volume{}, pool.ErrNotFound
}

func (p fakePool) List(context.Context) (out []pool.Volume, err error) {
	for _, v := range p.w.volumes {
		out = append(out, v.Volume)
	}
	return out, nil
}

func (p fakePool) Grant(_ context.Context, r pool.GrantRequest) (pool.Connection, error) {
	v, ok := p.w.volumes[r.Volume]
	if !ok {
		return pool.Connection{}, pool.ErrNotFound
	}
	v.holders[r.Host.Name] = true
	return p.Connection(context.Background(), r.Volume, r.Host)
}

func (p fakePool) Revoke(_ context.Context, r pool.RevokeRequest) error {
	if v, ok := p.w.volumes[r.Volume]; ok {
		delete(v.holders, r.Host.Name)
	}
	return nil
}

func (p fakePool) Holders(_ context.Context, volume string) (out []pool.Holder, err error) {
	if v, ok := p.w.volumes[volume]; ok {
		for h := range v.holders {
			out = append(out, pool.Holder{Host: pool.Host{Name: h, ID: "id-" + h}, BootID: "boot"})
		}
	}
	return out, nil
}

func (p fakePool) Connection(_ context.Context, volume string, _ pool.Host) (pool.Connection, error) {
	return blockdev.Connection{Pool: "fast", Volume: volume, Path: "/dev/volbridge/fast/" + volume}, nil
}

func (p fakePool) Create(_ context.Context, r pool.CreateRequest) (v pool.Volume, err error) {
	err = p.w.point(func() error {
		if there, ok := p.w.volumes[r.Name]; ok {
			if there.CreationID != r.CreationID {
				return pool.ErrExists
			}
			v = there.Volume
			return nil
		}
		v = pool.Volume{Pool: "fast", Name: r.Name, SizeBytes: p.RoundSize(r.SizeBytes), CreationID: r.CreationID}
		p.w.volumes[r.Name] = &fakeVolume{Volume: v, holders: map[string]bool{}}
		return nil
	})
	return v, err
}

func (p fakePool) Resize(context.Context, string, int64) (pool.Volume, error) {
	return pool.Volume{}, errors.New("not in this test")
}

func (p fakePool) Delete(_ context.Context, name, creationID string) error {
	return p.w.point(func() error {
		v, ok := p.w.volumes[name]
		switch {
		case !ok:
			return nil
		case creationID != "" && v.CreationID != creationID:
			return pool.ErrNotOurs
		case len(v.holders) > 0:
			return &pool.HeldError{Pool: "fast", Volume: name, Holders: []pool.Holder{{}}}
		}
		delete(p.w.volumes, name)
		return nil
	})
}

func (p fakePool) RoundSize(n int64) int64 { return (n + 7) / 8 * 8 }

// fakeDaemon is libvirt on one of the hosts.
type fakeDaemon struct {
	w    *world
	name string
}

func (d *fakeDaemon) URI() string  { return "fake://" + d.name }
func (d *fakeDaemon) Close() error { return nil }

func (d *fakeDaemon) Host(context.Context) (h HostInfo, err error) {
	err = d.w.point(func() error { h = HostInfo{Name: d.name, UUID: "uuid-" + d.name}; return nil })
	return h, err
}

func (d *fakeDaemon) Resolve(context.Context, string) (uuid, name string, err error) {
	return guestUUID, "web1", d.w.point(func() error { return nil })
}

func (d *fakeDaemon) Guest(_ context.Context, ref string) (g Guest, err error) {
	err = d.w.point(func() error {
		s := d.w.guest[d.name]
		if s == "" {
			return fmt.Errorf("%w: %s", ErrNoGuest, ref)
		}
		g = Guest{UUID: guestUUID, Name: "web1", Active: s != "stored", Persistent: true,
			LiveXML: d.w.xml[d.name], StoredXML: d.w.xml[d.name], DiskBytes: map[string]int64{"vda": 100, "vdb": 50}}
		return nil
	})
	return g, err
}

func (d *fakeDaemon) Where(context.Context, string) (w Whereabouts, err error) {
	err = d.w.point(func() error {
		s := d.w.guest[d.name]
		w = Whereabouts{Defined: s != "", Active: s != "" && s != "stored", Switching: s == "arriving" || s == "unconfirmed",
			ForMigration: s == "unconfirmed", State: s}
		if s == "leaving" {
			w.Job = JobMigrationOut
		}
		return nil
	})
	return w, err
}

func (d *fakeDaemon) Probe(context.Context, Guest, []string) error {
	return d.w.point(func() error { return nil })
}

func (d *fakeDaemon) Define(context.Context, string) error {
	return d.w.point(func() error { return nil })
}

func (d *fakeDaemon) LiveXML(context.Context, string) (s string, err error) {
	err = d.w.point(func() error { s = d.w.xml[d.name]; return nil })
	return s, err
}

// Migrate grants on the destination as its hook does, copies, and switches. A
// client that dies meanwhile ends a direct migration, and not a peer-to-peer
// one.
func (d *fakeDaemon) Migrate(ctx context.Context, dest Hypervisor, call Call, watch func(Progress)) (err error) {
	to := dest.(*fakeDaemon)
	var mine []string
	cleanUp := func() {
		if d.w.slow && call.Tuning.PeerToPeer {
			return
		}
		d.w.guest[to.name] = ""
		for _, v := range mine {
			delete(d.w.volumes[v].holders, to.name)
		}
	}
	complete := func() {
		d.w.xml[to.name] = call.DestXML
		d.w.guest[to.name], d.w.guest[d.name] = "running", "stored"
		if call.Tuning.UndefineSource {
			d.w.guest[d.name] = ""
		}
		for _, v := range d.w.volumes {
			delete(v.holders, d.name)
		}
	}
	lost := func() { // the daemons go on without their client
		if d.w.slow {
			d.w.guest[d.name], d.w.land = "leaving", complete
			return
		}
		complete()
	}
	begun := false
	defer func() {
		if d.w.guest[to.name] == "arriving" && begun && call.Tuning.PeerToPeer && d.w.slow && err != nil {
			lost()
			return
		}
		if p := recover(); p != nil {
			switch {
			case begun && call.Tuning.PeerToPeer && d.w.guest[to.name] == "arriving":
				lost()
			case d.w.guest[to.name] == "arriving":
				cleanUp()
			}
			panic(p)
		}
	}()
	if err := d.w.point(func() error { // the destination's hook and QEMU
		begun = true
		d.w.guest[to.name] = "arriving"
		doc, err := domainxml.Parse([]byte(call.DestXML))
		if err != nil {
			return err
		}
		for _, disk := range doc.Disks() {
			for name, v := range d.w.volumes {
				if disk.Source == "/dev/volbridge/fast/"+name {
					v.holders[to.name] = true
					mine = append(mine, name)
				}
			}
		}
		return nil
	}); err != nil {
		cleanUp()
		return err
	}
	if err := d.w.point(func() error { watch(Progress{}); return ctx.Err() }); err != nil { // the copy, or its end
		cleanUp()
		return err
	}
	err = d.w.point(func() error { complete(); return nil }) // the switch, and libvirt's reply
	if d.w.guest[to.name] == "arriving" {
		cleanUp()
	}
	return err
}

func (d *fakeDaemon) UsersOf(_ context.Context, path string) (users []string, err error) {
	err = d.w.point(func() error {
		if d.w.mute == d.name {
			return errors.New("the connection broke")
		}
		if d.w.guest[d.name] != "" && strings.Contains(d.w.xml[d.name], "'"+path+"'") {
			users = append(users, "web1")
		}
		return nil
	})
	return users, err
}

func (d *fakeDaemon) FileIdentity(_ context.Context, path string) (id string, err error) {
	err = d.w.point(func() error { id = d.w.files[path]; return nil })
	return id, err
}

func (d *fakeDaemon) RemoveFile(_ context.Context, path, identity string) error {
	return d.w.point(func() error {
		if now, there := d.w.files[path]; there && identity != "" && now != identity {
			return ErrReplaced
		}
		d.w.removed = append(d.w.removed, path)
		delete(d.w.files, path)
		return nil
	})
}

// fakeJournal is a journal in memory; its writes are points as well.
type fakeJournal struct {
	w          *world
	migrations []state.Migration
	steps      []state.Step
}

func (j *fakeJournal) BeginMigration(_ context.Context, m state.Migration) (id int64, err error) {
	err = j.w.point(func() error {
		m.ID = int64(len(j.migrations) + 1)
		j.migrations = append(j.migrations, m)
		id = m.ID
		return nil
	})
	return id, err
}

func (j *fakeJournal) SetMigration(_ context.Context, id int64, s state.MigrationState, detail []byte) error {
	return j.w.point(func() error {
		j.migrations[id-1].State, j.migrations[id-1].Detail = s, detail
		return nil
	})
}

func (j *fakeJournal) Migrations(context.Context, bool) (out []state.Migration, err error) {
	err = j.w.point(func() error {
		for _, m := range j.migrations {
			if m.State != state.Finished && m.State != state.Undone {
				out = append(out, m)
			}
		}
		return nil
	})
	return out, err
}

func (j *fakeJournal) TryStep(_ context.Context, id int64, kind string, args []byte) (n int, err error) {
	err = j.w.point(func() error {
		n = len(j.steps)
		j.steps = append(j.steps, state.Step{MigrationID: id, N: n, Kind: kind, Args: args, Status: state.Trying})
		return nil
	})
	return n, err
}

func (j *fakeJournal) SetStep(_ context.Context, _ int64, n int, st state.StepStatus) error {
	return j.w.point(func() error { j.steps[n].Status = st; return nil })
}

func (j *fakeJournal) Steps(context.Context, int64) (out []state.Step, err error) {
	err = j.w.point(func() error { out = append(out, j.steps...); return nil })
	return out, err
}

// silent hears nothing.
type silent struct{}

func (silent) Planned(Plan)      {}
func (silent) Step(string)       {}
func (silent) Progress(Progress) {}
func (silent) Warn(string)       {}

const bootImage = "/images/web1.qcow2"

const guestUUID = "11111111-2222-3333-4444-555555555555"

// twoDiskXML is a guest with an image file to copy and a shared volume.
const twoDiskXML = `<domain type='qemu'>
  <name>web1</name>
  <uuid>` + guestUUID + `</uuid>
  <metadata>
    <volbridge:domain xmlns:volbridge="urn:volbridge:domain:1">
      <volbridge:disk target="vdb" pool="fast" volume="data" size="50"/>
    </volbridge:domain>
  </metadata>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/images/web1.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native' discard='unmap'/>
      <source dev='/dev/volbridge/fast/data'/>
      <target dev='vdb' bus='virtio'/>
    </disk>
  </devices>
</domain>
`

func newWorld() *world {
	w := &world{
		guest: map[string]string{"kvm01": "running"},
		xml:   map[string]string{"kvm01": twoDiskXML},
		files: map[string]string{bootImage: "first"},
		volumes: map[string]*fakeVolume{"data": {
			Volume:  pool.Volume{Pool: "fast", Name: "data", SizeBytes: 56},
			holders: map[string]bool{"kvm01": true},
		}},
	}
	w.journal = &fakeJournal{w: w}
	return w
}

func (w *world) mover(src, dst Hypervisor) *Mover {
	return &Mover{
		Source: src, Dest: dst,
		Redial:    func(context.Context) (Hypervisor, error) { return &fakeDaemon{w: w, name: "kvm02"}, nil },
		Pools:     func(string) (pool.Backend, error) { return fakePool{w}, nil },
		PoolNames: []string{"fast"},
		Recognise: func(_ context.Context, doc *domainxml.Document) (map[string]Located, error) {
			m, _ := doc.Metadata()
			out := map[string]Located{}
			for _, d := range m.Disks {
				out[d.Target] = Located{d.Pool, d.Volume}
			}
			return out, nil
		},
		Journal: w.journal,
		Lock: func(string) (func() error, error) {
			return func() error { return nil }, nil
		},
		BootID: "boot", Settle: 2 * askAgain, Watch: silent{}, NewID: newTestID,
	}
}

var testID int

func newTestID() string { testID++; return fmt.Sprint("id-", testID) }

// run migrates once; a crash of the process is reported as such.
func (w *world) run(o Options) (crash bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(died); !ok {
				panic(p)
			}
			crash = true
		}
	}()
	src := &fakeDaemon{w: w, name: "kvm01"}
	_, err = w.mover(src, &fakeDaemon{w: w, name: "kvm02"}).Run(context.Background(), o)
	return false, err
}

// recover does what the timer on the source host does.
func (w *world) recover() ([]Finding, error) {
	w.failAt = 0
	r := &Recoverer{
		Now: time.Now, BootID: "boot", Local: &fakeDaemon{w: w, name: "kvm01"},
		Store: noAttachments{}, Mover: w.mover,
		Dial: func(_ context.Context, uri string) (Hypervisor, error) {
			if strings.Contains(w.silent, uri) {
				return nil, errors.New("no route to host")
			}
			return &fakeDaemon{w: w, name: uri[len("fake://"):]}, nil
		},
		Claim: func(string) (func() error, bool, error) { return func() error { return nil }, false, nil },
	}
	return r.Recover(context.Background())
}

type noAttachments struct{}

func (noAttachments) All(context.Context) ([]state.Attachment, error)            { return nil, nil }
func (noAttachments) Domain(context.Context, string) ([]state.Attachment, error) { return nil, nil }

func (noAttachments) Claim(_ context.Context, a state.Attachment) (state.Attachment, bool, error) {
	return a, false, nil
}

// String shows the world in a failing test.
func (w *world) String() string {
	b, _ := json.MarshalIndent(map[string]any{"guest": w.guest, "volumes": w.volumes, "steps": w.journal.steps}, "", " ")
	return string(b)
}
