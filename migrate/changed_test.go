package migrate

import (
	"context"
	"strings"
	"testing"
)

const overlay = "/var/lib/libvirt/images/overlay.qcow2"

// snapped is the running definition after an external snapshot of the shared
// disk: libvirt has put a file above the volume.
var snapped = strings.Replace(twoDiskXML, `    <disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native' discard='unmap'/>
      <source dev='/dev/volbridge/fast/data'/>
`, `    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>
      <source file='`+overlay+`'/>
      <backingStore type='block'><format type='raw'/><source dev='/dev/volbridge/fast/data'/><backingStore/></backingStore>
`, 1)

// busySource is a source on which somebody else works too: after the plan has
// been made, or once libvirt moves the guest.
type busySource struct {
	*fakeDaemon
	planned   func(*world)
	moving    func(*world)
	alter     func(*Guest) // what libvirt says of the guest from then on
	looks     int
	told      bool
	unanswers int // how many looks at the running definition get no answer
}

func (s *busySource) Guest(ctx context.Context, ref string) (Guest, error) {
	if s.looks++; s.looks == 2 && s.planned != nil {
		s.planned(s.w)
	}
	g, err := s.fakeDaemon.Guest(ctx, ref)
	if s.looks > 1 && s.alter != nil {
		s.alter(&g)
	}
	return g, err
}

func (s *busySource) LiveXML(ctx context.Context, uuid string) (string, error) {
	if s.unanswers > 0 {
		s.unanswers--
		return "", errInjected
	}
	return s.fakeDaemon.LiveXML(ctx, uuid)
}

func (s *busySource) Migrate(ctx context.Context, d Hypervisor, call Call, watch func(Progress)) error {
	s.told = true
	if s.moving != nil {
		s.moving(s.w)
	}
	return s.fakeDaemon.Migrate(ctx, d, call, func(p Progress) { watch(p); watch(p) })
}

func runBusy(t *testing.T, s *busySource) (*world, error) {
	t.Helper()
	w := newWorld()
	s.fakeDaemon = &fakeDaemon{w: w, name: "kvm01"}
	_, err := w.mover(s, &fakeDaemon{w: w, name: "kvm02"}).Run(t.Context(),
		Options{Domain: "web1", DestURI: "fake://kvm02", Disks: map[string]DiskTarget{"vda": {Pool: "fast"}}})
	return w, err
}

// What libvirt is told to start on the destination was written when the plan was
// made. A guest that has changed since would run there on what it no longer uses.
func TestGuestThatChangedIsNotMoved(t *testing.T) {
	live := func(old, now string) func(*world) {
		return func(w *world) { w.xml["kvm01"] = strings.Replace(w.xml["kvm01"], old, now, 1) }
	}
	const another = "<disk type='file'><source file='/images/more'/><target dev='vdc'/></disk>"
	cases := map[string]struct {
		planned func(*world)
		alter   func(*Guest)
		want    []string
	}{
		"snapshot": {planned: func(w *world) { w.xml["kvm01"] = snapped },
			want: []string{"disk vdb of domain web1 on kvm01", "/dev/volbridge/fast/data", overlay}},
		"block copy":     {planned: live("fast/data", "fast/elsewhere"), want: []string{"disk vdb", "/dev/volbridge/fast/data", "/dev/volbridge/fast/elsewhere"}},
		"copied disk":    {planned: live("/images/web1.qcow2", "/images/other.qcow2"), want: []string{"disk vda", "/images/web1.qcow2", "/images/other.qcow2"}},
		"other backing":  {planned: live("<source file='/images/web1.qcow2'/>", "<source file='/images/web1.qcow2'/><backingStore type='file'><format type='raw'/><source file='/base'/></backingStore>"), want: []string{"disk vda", "/base"}},
		"other format":   {planned: live("type='qcow2'", "type='raw'"), want: []string{"disk vda", "qcow2", "raw"}},
		"slice":          {planned: live("<source dev='/dev/volbridge/fast/data'/>", "<source dev='/dev/volbridge/fast/data'><slices><slice type='storage' offset='0' size='48'/></slices></source>"), want: []string{"disk vdb", "first 48 bytes"}},
		"disk attached":  {planned: live("</devices>", another+"</devices>"), want: []string{"disk vdc", "was not there", "/images/more"}},
		"disk detached":  {planned: live("target dev='vdb'", "target dev='vdc'"), want: []string{"disk vdb", "is not there"}},
		"libvirt's list": {alter: func(g *Guest) { g.Snapshots = 1 }, want: []string{"libvirt snapshots (1)"}},
		"domain job":     {alter: func(g *Guest) { g.Job = "backup" }, want: []string{"backup"}},
		"block job":      {alter: func(g *Guest) { g.BlockJobs = map[string]string{"vdb": "block copy"} }, want: []string{"disk vdb", "block copy"}},
		"started anew":   {alter: func(g *Guest) { g.ID++ }, want: []string{"stopped and started"}},
		"stopped":        {alter: func(g *Guest) { g.Active, g.LiveXML = false, "" }, want: []string{"stopped"}},
		"cannot be read": {alter: func(g *Guest) { g.LiveXML = "<" }, want: []string{"read the definition"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := &busySource{planned: c.planned, alter: c.alter}
			w, err := runBusy(t, s)
			if err == nil || s.told || w.guest["kvm01"] != "running" || w.guest["kvm02"] != "" {
				t.Fatalf("%v; libvirt was told: %t\n%s", err, s.told, w)
			}
			for _, want := range append(c.want, "web1", "kvm01", "everything was taken back") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if !strings.Contains(err.Error(), "repeat the command") && name != "cannot be read" {
				t.Errorf("%q does not say what to do", err)
			}
			checkStayed(t, name, w)
		})
	}
}

// What is no difference to its disks does not keep a guest from moving.
func TestGuestThatOnlyLooksDifferentIsMoved(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"metadata": func(w *world) { w.xml["kvm01"] = strings.Replace(w.xml["kvm01"], "size=\"50\"", "size=\"48\"", 1) },
		"driver": func(w *world) {
			w.xml["kvm01"] = strings.Replace(w.xml["kvm01"], "cache='none'", "cache='writeback'", 1)
		},
		"end known": func(w *world) {
			w.xml["kvm01"] = strings.Replace(w.xml["kvm01"], "web1.qcow2'/>", "web1.qcow2' index='1'/><backingStore/>", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &busySource{planned: change}
			w, err := runBusy(t, s)
			if err != nil || !s.told || w.guest["kvm02"] != "running" {
				t.Errorf("%v; libvirt was told: %t\n%s", err, s.told, w)
			}
		})
	}
}

// Between the last look and libvirt's job there is still time for a snapshot; the
// job keeps others away, so that what is seen then is final.
func TestSnapshotWhileTheMigrationBegins(t *testing.T) {
	for unanswers := range 2 {
		s := &busySource{moving: func(w *world) { w.xml["kvm01"] = snapped }, unanswers: unanswers}
		w, err := runBusy(t, s)
		if err == nil || w.guest["kvm01"] != "running" || w.guest["kvm02"] != "" {
			t.Fatalf("%d looks without an answer: %v\n%s", unanswers, err, w)
		}
		for _, want := range []string{"disk vdb of domain web1 on kvm01", overlay, "repeat the command", "everything was taken back"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		checkStayed(t, "snapshot", w)
	}
}

// A look that is never answered says nothing against the migration.
func TestSecondLookUnanswered(t *testing.T) {
	w, err := runBusy(t, &busySource{unanswers: 2})
	if err != nil || w.guest["kvm02"] != "running" {
		t.Errorf("%v\n%s", err, w)
	}
}

// A guest that was shut off meanwhile runs nowhere, but libvirt was told nothing:
// recovery takes back what was made.
func TestGuestThatWasStoppedBeforeItMoved(t *testing.T) {
	w, err := runBusy(t, &busySource{planned: func(w *world) { w.guest["kvm01"] = "stored" }})
	if err == nil || !strings.Contains(err.Error(), "domain web1 on kvm01 was stopped") {
		t.Fatalf("%v\n%s", err, w)
	}
	if fs, err := w.recover(); err != nil || len(fs) != 1 || fs[0].Outcome != Recovered || w.volumes["web1-vda"] != nil {
		t.Errorf("%+v, %v; volumes %s", fs, err, w)
	}
}

// deaf does not end what it is told to end.
type deaf struct{ *busySource }

func (s deaf) Migrate(ctx context.Context, d Hypervisor, call Call, watch func(Progress)) error {
	return s.busySource.Migrate(context.WithoutCancel(ctx), d, call, watch)
}

// What could not be ended any more is not passed over in silence.
func TestSnapshotSeenTooLate(t *testing.T) {
	w := newWorld()
	s := deaf{&busySource{fakeDaemon: &fakeDaemon{w: w, name: "kvm01"}, moving: func(w *world) { w.xml["kvm01"] = snapped }}}
	var warnings []string
	m := w.mover(s, &fakeDaemon{w: w, name: "kvm02"})
	m.Watch = heard{warnings: &warnings}
	_, err := m.Run(t.Context(), Options{Domain: "web1", DestURI: "fake://kvm02", Disks: map[string]DiskTarget{"vda": {Pool: "fast"}}})
	if err != nil || w.guest["kvm02"] != "running" || len(warnings) != 1 || !strings.Contains(warnings[0], overlay) {
		t.Errorf("%v, warnings %q\n%s", err, warnings, w)
	}
}
