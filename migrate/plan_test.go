package migrate

import (
	"errors"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/pool"
)

// diskXML makes one disk element.
func diskXML(attrs, inner, target string) string {
	return "<disk " + attrs + ">" + inner + "<target dev='" + target + "' bus='virtio'/></disk>"
}

func facts(t *testing.T, disks ...string) Facts {
	t.Helper()
	xml := "<domain type='qemu'><name>web1</name><uuid>" + guestUUID + "</uuid><devices>" + strings.Join(disks, "") + "</devices></domain>"
	doc, err := domainxml.Parse([]byte(xml))
	if err != nil {
		t.Fatal(err)
	}
	size := map[string]int64{}
	for _, d := range doc.Disks() {
		size[d.Target] = 100
	}
	exists := func(names ...string) func(string) (bool, error) {
		return func(v string) (bool, error) {
			if strings.ContainsAny(v, "/ ") {
				return false, pool.ErrInvalidName
			}
			return contains(names, v), nil
		}
	}
	return Facts{
		Guest:  Guest{UUID: guestUUID, Name: "web1", Active: true, LiveXML: xml, DiskBytes: size},
		Live:   doc,
		Source: HostInfo{Name: "kvm01", UUID: "a"}, Dest: HostInfo{Name: "kvm02", UUID: "b"},
		SourceURI: "fake://kvm01",
		Pools: map[string]PoolView{
			"fast":  {Provisions: true, FreeBytes: -1, Round: func(n int64) int64 { return (n + 7) / 8 * 8 }, Exists: exists("web1-vda", "taken")},
			"slow":  {Provisions: true, FreeBytes: 10, Round: func(n int64) int64 { return n }, Exists: exists()},
			"bare":  {FreeBytes: -1},
			"local": {Provisions: true, FreeBytes: -1, Remote: errors.New("pool local is not configured there")},
		},
	}
}

const file = "<driver name='qemu' type='qcow2'/><source file='/images/web1.qcow2'/>"

func TestPlanDecidesPerDisk(t *testing.T) {
	f := facts(t,
		diskXML("type='file'", file, "vda"),
		diskXML("type='block'", "<source dev='/dev/volbridge/fast/data'/>", "vdb"),
		diskXML("type='file' device='cdrom'", "<source file='/iso'/>", "sda"),
		diskXML("type='file' device='cdrom'", "", "sdb"),
		diskXML("type='network'", "<source protocol='nbd'/>", "vdc"),
		diskXML("type='block'", "<source dev='/dev/volbridge/slow/old'/>", "vdd"),
		diskXML("type='file'", "<source file='/nfs/x.raw'/>", "vde"),
	)
	f.Managed = map[string]Located{"vdb": {"fast", "data"}, "vdd": {"slow", "old"}}
	o := Options{Disks: map[string]DiskTarget{"vda": {Pool: "fast"}, "vdd": {Pool: "fast", Volume: "new"}}, Leave: []string{"vde"}}
	p, err := NewPlan(f, o)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		action Action
		place  string
		bytes  int64
	}{
		"vda": {Copy, "fast/web1-vda-2", 104}, // web1-vda is taken
		"vdb": {Shared, "fast/data", 0},
		"sda": {Leave, "/", 0}, "sdb": {Leave, "/", 0}, "vdc": {Leave, "/", 0}, "vde": {Leave, "/", 0},
		"vdd": {Copy, "fast/new", 104},
	}
	if len(p.Disks) != len(want) {
		t.Fatalf("%d disks planned, want %d", len(p.Disks), len(want))
	}
	for _, d := range p.Disks {
		w := want[d.Target]
		if d.Action != w.action || d.Pool+"/"+d.Volume != w.place || d.VolumeBytes != w.bytes {
			t.Errorf("disk %s: %s to %s/%s with %d bytes, want %s to %s with %d", d.Target, d.Action, d.Pool, d.Volume, d.VolumeBytes, w.action, w.place, w.bytes)
		}
	}
}

func TestPlanWarnsOfAFullPool(t *testing.T) {
	p, err := NewPlan(facts(t, diskXML("type='file'", file, "vda")), Options{ToPool: "slow"})
	if err != nil || len(p.Warnings) != 1 {
		t.Fatalf("warnings %q, error %v; want one warning", p.Warnings, err)
	}
}

func TestPlanRefuses(t *testing.T) {
	vda := diskXML("type='file'", file, "vda")
	cases := map[string]struct {
		disks  []string
		change func(*Facts)
		o      Options
		want   string // in the only problem
	}{
		"shut off":        {[]string{vda}, func(f *Facts) { f.Guest.Active = false; f.Live = nil }, Options{ToPool: "fast"}, "virsh start"},
		"snapshots":       {[]string{vda}, func(f *Facts) { f.Guest.Snapshots = 2 }, Options{ToPool: "fast"}, "2 libvirt snapshots"},
		"block job":       {[]string{vda}, func(f *Facts) { f.Guest.BlockJobs = map[string]string{"vda": "block commit"} }, Options{ToPool: "fast"}, "virsh blockjob web1 vda --abort"},
		"domain job":      {[]string{vda}, func(f *Facts) { f.Guest.Job = "backup" }, Options{ToPool: "fast"}, "domjobabort"},
		"same host":       {[]string{vda}, func(f *Facts) { f.Dest.UUID = "A" }, Options{ToPool: "fast"}, "same host"},
		"runs there":      {[]string{vda}, func(f *Facts) { f.DestGuests = []Guest{{UUID: guestUUID, Name: "web1", Active: true}} }, Options{ToPool: "fast"}, "never run twice"},
		"name taken":      {[]string{vda}, func(f *Facts) { f.DestGuests = []Guest{{UUID: "other", Name: "web1"}} }, Options{ToPool: "fast"}, "--dname"},
		"transient disk":  {[]string{diskXML("type='file'", file+"<transient/>", "vda")}, nil, Options{ToPool: "fast"}, "transient"},
		"nowhere":         {[]string{vda}, nil, Options{}, "--to-pool"},
		"no such disk":    {[]string{vda}, nil, Options{ToPool: "fast", Disks: map[string]DiskTarget{"vdz": {Pool: "fast"}}}, "no disk vdz"},
		"no such pool":    {[]string{vda}, nil, Options{ToPool: "none"}, "does not have"},
		"no provisioning": {[]string{vda}, nil, Options{ToPool: "bare"}, "cannot create"},
		"not there":       {[]string{vda}, nil, Options{ToPool: "local"}, "not configured there"},
		"volume exists":   {[]string{vda}, nil, Options{Disks: map[string]DiskTarget{"vda": {Pool: "fast", Volume: "taken"}}}, "exists already"},
		"odd domain name": {[]string{vda}, func(f *Facts) { f.Guest.Name = "web 1" }, Options{ToPool: "fast"}, "/VOLUME"},
		"unknown size":    {[]string{vda}, func(f *Facts) { f.Guest.DiskBytes = nil }, Options{ToPool: "fast"}, "must not guess"},
		"shareable":       {[]string{diskXML("type='file'", file+"<shareable/>", "vda")}, nil, Options{ToPool: "fast"}, "shareable"},
		"encrypted":       {[]string{diskXML("type='file'", "<source file='/x'><encryption format='luks'/></source>", "vda")}, nil, Options{ToPool: "fast"}, "encryption"},
		"left and copied": {[]string{vda}, nil, Options{Disks: map[string]DiskTarget{"vda": {Pool: "fast"}}, Leave: []string{"vda"}}, "choose one"},
		"copied cdrom":    {[]string{diskXML("type='file' device='cdrom'", "<source file='/iso'/>", "sda")}, nil, Options{Disks: map[string]DiskTarget{"sda": {Pool: "fast"}}}, "read-only"},
		"shared not there": {[]string{diskXML("type='block'", "<source dev='/dev/volbridge/local/d'/>", "vda")},
			func(f *Facts) { f.Managed = map[string]Located{"vda": {"local", "d"}} }, Options{}, "kvm02 cannot use"},
		"remove, not undefine": {[]string{vda}, func(f *Facts) { f.Guest.Persistent = true }, Options{ToPool: "fast", RemoveSource: true}, "--undefine-source"},
		"undefine transient":   {[]string{vda}, nil, Options{ToPool: "fast", Tuning: Tuning{UndefineSource: true}}, "transient"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := facts(t, c.disks...)
			if c.change != nil {
				c.change(&f)
			}
			_, err := NewPlan(f, c.o)
			var r *Refusal
			if !errors.As(err, &r) {
				t.Fatalf("error %v, want a refusal", err)
			}
			if len(r.Problems) != 1 || !strings.Contains(r.Problems[0], c.want) {
				t.Fatalf("problems %q, want one with %q", r.Problems, c.want)
			}
		})
	}
}

func TestPlanReportsAllProblemsAtOnce(t *testing.T) {
	f := facts(t, diskXML("type='file'", file, "vda"), diskXML("type='file'", file, "vdb"))
	f.Guest.Snapshots = 1
	_, err := NewPlan(f, Options{})
	var r *Refusal
	if !errors.As(err, &r) || len(r.Problems) != 3 {
		t.Fatalf("got %v, want three problems", err)
	}
}

func TestParseDiskTarget(t *testing.T) {
	for in, want := range map[string]DiskTarget{"vda=fast": {"fast", ""}, "vda=fast/v": {"fast", "v"}} {
		target, got, err := ParseDiskTarget(in)
		if err != nil || target != "vda" || got != want {
			t.Errorf("%q: %q %+v %v", in, target, got, err)
		}
	}
	for _, in := range []string{"", "vda", "vda=", "=fast", "vda=/v", "vda=fast/"} {
		if _, _, err := ParseDiskTarget(in); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}
