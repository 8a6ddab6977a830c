package bridge

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/pool"
)

// disk is an entry of the metadata; a size of 0 is left out.
func disk(target, pool, volume string, size int64) string {
	text := `<volbridge:disk target="` + target + `" pool="` + pool + `" volume="` + volume + `"`
	if size > 0 {
		text += ` size="` + strconv.FormatInt(size, 10) + `"`
	}
	return text + "/>"
}

const sliced = `type='block'|<source dev='/dev/volbridge/fast/web1'><slices><slice type='storage' offset='0' size='1048576'/></slices></source>`

// foreign is a disk on the path that another host's transport gives to a
// volume of pool fast.
func foreign(volume string) string {
	return "type='block'|<driver name='qemu' type='raw'/><source dev='" + foreignDir + volume + "'/>"
}

func TestManaged(t *testing.T) {
	w := newWorld(t, "fast/web1", "fast/web2", "slow/web1")
	for name, c := range map[string]struct {
		metadata string
		disks    []string
		want     []Disk
		wantErr  string
	}{
		"none": {disks: []string{"type='file'|<source file='/a.qcow2'/>", "type='network'|<source protocol='rbd' name='x'/>"}},
		"by metadata, path of another host": {
			metadata: disk("vda", "fast", "web1", 5*mib), disks: []string{foreign("web1")},
			want: []Disk{{Target: "vda", Pool: "fast", Volume: "web1", SizeBytes: 5 * mib, By: ByMetadata, whole: true}},
		},
		"by metadata, type volume": {
			metadata: disk("vda", "fast", "web1", 5*mib), disks: []string{"type='volume'|<source pool='fast' volume='web1'/>"},
			want: []Disk{{Target: "vda", Pool: "fast", Volume: "web1", SizeBytes: 5 * mib, By: ByMetadata}},
		},
		"metadata before path, guest sees all of the device": {
			metadata: disk("vda", "fast", "web1", 5*mib), disks: []string{block("fast/web1")},
			want: []Disk{{Target: "vda", Pool: "fast", Volume: "web1", SizeBytes: 5 * mib, By: ByMetadata, whole: true}},
		},
		"slice before the metadata's size": {
			metadata: disk("vda", "fast", "web1", 5*mib), disks: []string{sliced},
			want: []Disk{{Target: "vda", Pool: "fast", Volume: "web1", SizeBytes: mib, By: ByMetadata}},
		},
		"by path": {
			disks: []string{block("slow/web1"), sliced},
			want: []Disk{
				{Target: "vda", Pool: "slow", Volume: "web1", By: ByPath, whole: true},
				{Target: "vdb", Pool: "fast", Volume: "web1", SizeBytes: mib, By: ByPath},
			},
		},
		"by path, said to be a file": {
			disks: []string{"type='file'|<source file='/dev/volbridge/fast/web1'/>"},
			want:  []Disk{{Target: "vda", Pool: "fast", Volume: "web1", By: ByPath, whole: true}},
		},
		"by volume": {
			disks: []string{"type='volume'|<source pool='fast' volume='web2'/>", "type='volume'|<source pool='default' volume='web2'/>"},
			want:  []Disk{{Target: "vda", Pool: "fast", Volume: "web2", By: ByVolume}},
		},
		"read-only and shareable are multi": {
			disks: []string{block("fast/web1") + "<readonly/>", block("fast/web2") + "<shareable/>"},
			want: []Disk{
				{Target: "vda", Pool: "fast", Volume: "web1", By: ByPath, Multi: true, whole: true},
				{Target: "vdb", Pool: "fast", Volume: "web2", By: ByPath, Multi: true, whole: true},
			},
		},
		"no medium":           {metadata: disk("vda", "fast", "web1", 0), disks: []string{"type='block'|"}},
		"detached":            {metadata: disk("vdx", "fast", "web1", 0), disks: []string{"type='file'|<source file='/a'/>"}},
		"pool not configured": {disks: []string{block("gone/web1")}, wantErr: `disk vda of domain web1: source /dev/volbridge/gone/web1: pool "gone": pool is not configured`},
		"pool cannot be opened, path of its own": {
			disks: []string{block("closed/web1")}, wantErr: "open pool closed: no such directory",
		},
		"path of another form, while a pool cannot be opened": {disks: []string{"type='block'|<source dev='/dev/sda'/>"}},
		"by metadata, pool not configured": {
			metadata: disk("vda", "gone", "web1", 5*mib), disks: []string{"type='block'|<source dev='/dev/disk/by-id/nvme-eui.00'/>"},
			want:    []Disk{{Target: "vda", Pool: "gone", Volume: "web1", SizeBytes: 5 * mib, By: ByMetadata}},
			wantErr: `disk vda of domain web1: the metadata says volume gone/web1, and only its pool could tell whether that is block /dev/disk/by-id/nvme-eui.00: pool "gone": pool is not configured; add the pool`,
		},
		"volume is gone": {disks: []string{block("fast/gone")}, wantErr: "no such volume"},
		"metadata and path disagree": {
			metadata: disk("vda", "fast", "web1", 0), disks: []string{block("fast/web2")},
			want:    []Disk{{Target: "vda", Pool: "fast", Volume: "web1", By: ByMetadata}},
			wantErr: "the metadata says volume fast/web1, but source /dev/volbridge/fast/web2 is volume fast/web2",
		},
		"one volume twice": {
			metadata: disk("vda", "fast", "web1", 0), disks: []string{foreign("web1"), block("fast/web1")},
			want: []Disk{
				{Target: "vda", Pool: "fast", Volume: "web1", By: ByMetadata, whole: true},
				{Target: "vdb", Pool: "fast", Volume: "web1", By: ByPath, whole: true},
			},
			wantErr: "disk vdb of domain web1: volume fast/web1 is disk vda already",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Managed(t.Context(), domain(t, uuid1, c.metadata, c.disks...), fakePools{w, "kvm01"})
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(Disk{}), cmpopts.IgnoreFields(Disk{}, "XML")); diff != "" {
				t.Error(diff)
			}
			if c.wantErr == "" && err != nil || c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
				t.Errorf("error %v, want %q", err, c.wantErr)
			}
		})
	}
}

func TestPathOfUnknownPoolIsErrNoPool(t *testing.T) {
	_, err := Managed(t.Context(), domain(t, uuid1, "", block("gone/web1")), fakePools{newWorld(t), "kvm01"})
	if !errors.Is(err, ErrNoPool) {
		t.Error(err)
	}
}

func TestStale(t *testing.T) {
	doc := domain(t, uuid1, disk("vda", "fast", "a", 1)+disk("vdb", "fast", "b", 2)+disk("vdx", "fast", "c", 3),
		"type='file'|<source file='/a'/>", "type='block'|")
	want := []domainxml.ManagedDisk{
		{Target: "vdb", Pool: "fast", Volume: "b", SizeBytes: 2},
		{Target: "vdx", Pool: "fast", Volume: "c", SizeBytes: 3},
	}
	if diff := cmp.Diff(want, Stale(doc)); diff != "" {
		t.Error(diff)
	}
}

func TestSlice(t *testing.T) {
	for name, c := range map[string]struct {
		d      Disk
		device int64
		want   int64
	}{
		"larger device":                {Disk{SizeBytes: 5}, 8, 5},
		"same size":                    {Disk{SizeBytes: 8}, 8, 0},
		"not known":                    {Disk{}, 8, 0},
		"guest has all of it already":  {Disk{SizeBytes: 5, whole: true}, 8, 0},
		"all of it, metadata is exact": {Disk{SizeBytes: 8, whole: true}, 8, 0},
		"a slice stays":                {Disk{SizeBytes: 8, XML: domainxml.Disk{SliceBytes: 8}}, 8, 8},
	} {
		if got := c.d.slice(c.device); got != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestModeOfDisk(t *testing.T) {
	if m := (Disk{}).Mode(pool.Handover); m != pool.Handover {
		t.Error(m)
	}
	if m := (Disk{Multi: true}).Mode(pool.Exclusive); m != pool.Multi {
		t.Error(m)
	}
}

const overlay = "type='file'|<driver name='qemu' type='qcow2'/><source file='/snap/web1.s1'/>" +
	"<backingStore type='block'><format type='raw'/><source dev='/dev/volbridge/fast/web1'/><backingStore/></backingStore>"

// TestMovedOff: a guest that was moved off its volume is neither taken for
// managed nor passed over.
func TestMovedOff(t *testing.T) {
	w := newWorld(t, "fast/web1", "fast/web2")
	entry := disk("vda", "fast", "web1", 5*mib)
	moved := []string{"disk vda of domain web1", "no longer on volume fast/web1, which the metadata still names", `"volbridge domain forget web1 vda"`, `"virsh edit"`}
	for name, c := range map[string]struct {
		metadata, disk string
		want           []string
	}{
		"file":                 {entry, "type='file'|<source file='/snap/web1.s1'/>", append([]string{"it is on file /snap/web1.s1"}, moved...)},
		"network":              {entry, "type='network'|<source protocol='rbd' name='p/v'/>", append([]string{"it is on network p/v"}, moved...)},
		"nvme":                 {entry, "type='nvme'|<source type='pci' namespace='1'><address domain='0' bus='1' slot='0' function='0'/></source>", append([]string{"it is on nvme"}, moved...)},
		"other block":          {entry, "type='block'|<source dev='/dev/sdx'/>", append([]string{"it is on block /dev/sdx"}, moved...)},
		"own, elsewhere":       {entry, block("gone/web1"), append([]string{"it is on block /dev/volbridge/gone/web1"}, moved...)},
		"own, no volume":       {entry, block("fast/gone"), append([]string{"it is on block /dev/volbridge/fast/gone"}, moved...)},
		"by id, no volume":     {entry, "type='block'|<source dev='/dev/disk/by-id/wwn-0x5000c500a1b2c3d4'/>", moved},
		"map by name":          {entry, "type='block'|<source dev='/dev/mapper/vg-web1'/>", moved},
		"climbs out":           {entry, "type='block'|<source dev='/dev/disk/by-id/../../sdx'/>", moved},
		"by id, but a file":    {entry, "type='file'|<source file='/dev/disk/by-id/wwn-0x5000'/>", moved},
		"other volume by name": {entry, "type='volume'|<source pool='fast' volume='web2'/>", append([]string{"it is on type='volume' fast/web2"}, moved...)},
		"libvirt's own pool":   {entry, "type='volume'|<source pool='default' volume='web1'/>", moved},
		"overlay":              {entry, overlay, []string{"overlay", "/snap/web1.s1", "/dev/volbridge/fast/web1", `"virsh blockcommit web1 vda --active --pivot"`}},
		"overlay, no metadata": {"", overlay, []string{"overlay", `"virsh blockcommit web1 vda --active --pivot"`}},
		"overlay of overlay": {"", "type='file'|<source file='/s2'/><backingStore type='file'><format type='qcow2'/><source file='/s1'/>" +
			"<backingStore type='block'><format type='raw'/><source dev='/dev//volbridge/fast/web1'/></backingStore></backingStore>", []string{"overlay"}},
	} {
		t.Run(name, func(t *testing.T) {
			doc := domain(t, uuid1, c.metadata, c.disk)
			_, err := Managed(t.Context(), doc, fakePools{w, "kvm01"})
			wantError(t, err, c.want...)

			h := w.host("kvm01")
			wantError(t, h.Start(t.Context(), doc), c.want...)
			xml, err := h.Arrive(t.Context(), doc)
			wantError(t, err, c.want...)
			again, err := h.Restore(t.Context(), doc)
			wantError(t, err, append([]string{`"virsh managedsave-edit"`}, c.want...)...)
			if len(xml)+len(again) > 0 {
				t.Errorf("rewritten as %s%s", xml, again)
			}
			h.wantDisk(uuid1, "fast/web1", "")
		})
	}
}

// TestReleaseOfMovedGuest: what the guest is on now does not keep the volume.
func TestReleaseOfMovedGuest(t *testing.T) {
	for name, lost := range map[string]bool{"by its records": false, "state file lost": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "fast/web1")
			h := w.host("kvm01")
			entry := disk("vda", "fast", "web1", 5*mib)
			if err := h.Start(t.Context(), domain(t, uuid1, entry, block("fast/web1"))); err != nil {
				t.Fatal(err)
			}
			if lost {
				h = w.host("kvm01")
			}
			if err := h.Release(t.Context(), uuid1, domain(t, uuid1, entry, overlay), Stop{}); err != nil {
				t.Error(err)
			}
			h.wantDisk(uuid1, "fast/web1", "")
		})
	}
}

// TestMoreThanRawIsNotRewritten: a chain, or another format, on the volume's
// own device would be lost.
func TestMoreThanRawIsNotRewritten(t *testing.T) {
	for name, c := range map[string]struct{ disk, want string }{
		"chain":  {block("fast/web1") + "<backingStore type='file'><format type='raw'/><source file='/base'/></backingStore>", "backing chain (/base)"},
		"qcow2":  {"type='block'|<driver name='qemu' type='qcow2'/><source dev='/dev/volbridge/fast/web1'/>", "holds format qcow2"},
		"mirror": {"type='block'|<source dev='/dev/volbridge/fast/web1'/><mirror type='file' file='/c' job='copy'/>", "block job"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "fast/web1")
			h := w.host("kvm01")
			xml, err := h.Arrive(t.Context(), domain(t, uuid1, "", c.disk))
			wantError(t, err, "disk vda", c.want)
			if len(xml) > 0 {
				t.Errorf("rewritten as %s", xml)
			}
			h.wantDisk(uuid1, "fast/web1", "")
		})
	}
}
