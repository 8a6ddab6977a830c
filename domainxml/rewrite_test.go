package domainxml

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volbridge/volbridge/internal/testenv"
)

func oneDisk(disk string) string {
	return "<domain><name>vm1</name><devices>" + disk + "</devices></domain>"
}

func TestRewriteRefuses(t *testing.T) {
	const vda = "<target dev='vda'/>"
	for _, c := range []struct {
		name, disk string
		want       BlockDisk
		is         error
		says       string
	}{
		{"no such disk", "", BlockDisk{Target: "vda", Path: "/dev/x"}, ErrNoDisk, "domblklist"},
		{"no target asked", "<disk><source file='/a'/></disk>", BlockDisk{Path: "/dev/x"}, ErrNoDisk, ""},
		{"two of them", strings.Repeat("<disk><source file='/a'/>"+vda+"</disk>", 2), BlockDisk{Target: "vda", Path: "/dev/x"}, nil, "two disks"},
		{"empty cdrom", "<disk device='cdrom'>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x"}, ErrNoMedium, ""},
		{"empty source", "<disk device='cdrom'><source startupPolicy='optional'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x"}, ErrNoMedium, ""},
		{"network without source", "<disk type='network'>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x"}, ErrNoMedium, ""},
		{"floppy", "<disk device='floppy'><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x"}, nil, "floppy"},
		{"block job", "<disk><source file='/a'/><mirror type='file' job='copy'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x"}, ErrBlockJob, "blockjob"},
		{"two sources", "<disk><source file='/a'/><source file='/b'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x"}, nil, "<source>"},
		{"two drivers", "<disk><driver/><driver/><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x"}, nil, "<driver>"},
		{"two slices", "<disk><source file='/a'><slices/><slices/></source>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x", SliceBytes: 1}, nil, "<slices>"},
		{"attribute twice", "<disk><source file='/a' file='/b'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x"}, nil, "two attributes"},
		{"attributes without space", "<disk type='file'device='disk'><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x"}, nil, "space"},
		{"lun with slice", "<disk type='block' device='lun'><source dev='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x", SliceBytes: 512}, nil, "512"},
		{"relative path", "<disk><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "x"}, nil, "absolute"},
		{"no path", "<disk><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda"}, nil, "absolute"},
		{"control character", "<disk><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/\x01"}, nil, "U+0001"},
		{"nul", "<disk><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/\x00"}, nil, "U+0000"},
		{"no character", "<disk><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/\uffff"}, nil, "U+FFFF"},
		{"no utf-8", "<disk><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/\xe4"}, nil, "UTF-8"},
		{"negative size", "<disk><source file='/a'/>" + vda + "</disk>", BlockDisk{Target: "vda", Path: "/dev/x", SliceBytes: -1}, nil, "-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := mustParse(t, []byte(oneDisk(c.disk))).Rewrite([]BlockDisk{c.want}, nil)
			if err == nil {
				t.Fatalf("accepted: %s", out)
			}
			if out != nil {
				t.Errorf("a document beside the error: %s", out)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %v", err, c.is)
			}
			for _, says := range []string{c.says, "domain vm1", "disk " + c.want.Target} {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%q does not say %q", err, says)
				}
			}
		})
	}
}

func TestRewriteUnkeepable(t *testing.T) {
	for _, c := range []struct{ name, disk, what string }{
		{"encrypted source", "<disk><source file='/a'><encryption format='luks'/></source><target dev='vda'/></disk>", "encryption"},
		{"encrypted disk", "<disk><source file='/a'/><encryption format='luks'/><target dev='vda'/></disk>", "encryption"},
		{"encrypted backing", "<disk><source file='/a'/><backingStore><source file='/b'><encryption/></source></backingStore><target dev='vda'/></disk>", "encryption"},
		{"reservations", "<disk type='block' device='lun'><source dev='/a'><reservations managed='yes'/></source><target dev='vda'/></disk>", "reservations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := mustParse(t, []byte(oneDisk(c.disk+"<disk><source file='/b'/><target dev='vdb'/></disk>")))
			_, err := doc.Rewrite([]BlockDisk{{Target: "vdb", Path: "/dev/b"}, {Target: "vda", Path: "/dev/a"}}, nil)
			var keep *UnkeepableError
			if !errors.As(err, &keep) || keep.Target != "vda" || keep.What != c.what {
				t.Errorf("got %v", err)
			}
			if got := mustRewrite(t, doc, nil, nil); !bytes.Equal(got, doc.Bytes()) {
				t.Error("the refusal changed the document")
			}
			mustRewrite(t, doc, []BlockDisk{{Target: "vdb", Path: "/dev/b"}}, nil)
		})
	}
}

// TestRewriteTwoSlices: only one storage slice is ever right.
func TestRewriteTwoSlices(t *testing.T) {
	slice := "<slice type='storage' offset='0' size='512'/>"
	doc := mustParse(t, []byte(oneDisk("<disk type='block'><source dev='/dev/x'><slices>"+slice+slice+"</slices></source><target dev='vda'/></disk>")))
	got := mustRewrite(t, doc, []BlockDisk{{Target: "vda", Path: "/dev/x", SliceBytes: 512}}, nil)
	if n := bytes.Count(got, []byte(slice)); n != 1 {
		t.Errorf("%d slices in %s", n, got)
	}
}

func TestRewriteAskedTwice(t *testing.T) {
	doc := mustParse(t, []byte(oneDisk("<disk><source file='/a'/><target dev='vda'/></disk>")))
	_, err := doc.Rewrite([]BlockDisk{{Target: "vda", Path: "/dev/a"}, {Target: "vda", Path: "/dev/a"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
}

func TestRewriteRefusesMetadata(t *testing.T) {
	vda := ManagedDisk{Target: "vda", Pool: "p", Volume: "v"}
	for _, c := range []struct {
		name, doc string
		meta      Metadata
		says      string
	}{
		{"no volume", oneDisk(""), Metadata{Disks: []ManagedDisk{{Target: "vda", Pool: "p"}}}, "volume"},
		{"twice", oneDisk(""), Metadata{Disks: []ManagedDisk{vda, vda}}, "twice"},
		{"negative size", oneDisk(""), Metadata{Disks: []ManagedDisk{{Target: "vda", Pool: "p", Volume: "v", SizeBytes: -1}}}, "-1"},
		{"control character", oneDisk(""), Metadata{Disks: []ManagedDisk{{Target: "vda", Pool: "p", Volume: "v", Origin: "\x02"}}}, "U+0002"},
		{"token", oneDisk(""), Metadata{Arrival: "\x1b"}, "U+001B"},
		{"no name to stand after", "<domain/>", Metadata{}, "<name>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := mustParse(t, []byte(c.doc)).Rewrite(nil, &c.meta)
			if err == nil || out != nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %s, %v, want an error that says %q", out, err, c.says)
			}
		})
	}
}

const exampleElement = `<volbridge:domain xmlns:volbridge="urn:volbridge:domain:1">
  <volbridge:disk target="vda" pool="fast" volume="vm1-vda" size="104857600" origin="file:/a &quot;b&quot;"/>
  <volbridge:disk target="vdb" pool="fast" volume="vm1-vdb"/>
  <volbridge:arrival token="3f9d"/>
</volbridge:domain>`

func exampleMetadata() Metadata {
	return Metadata{
		Disks: []ManagedDisk{
			{Target: "vda", Pool: "fast", Volume: "vm1-vda", SizeBytes: 104857600, Origin: `file:/a "b"`},
			{Target: "vdb", Pool: "fast", Volume: "vm1-vdb"},
		},
		Arrival: "3f9d",
	}
}

func TestElement(t *testing.T) {
	m := exampleMetadata()
	doc := mustParse(t, []byte("<domain><metadata>"+exampleElement+"</metadata></domain>"))
	got, ok := doc.Metadata()
	if diff := cmp.Diff(m, got); diff != "" || !ok {
		t.Errorf("read back: -want +got\n%s", diff)
	}
	got.Disks[0].Target = "changed"
	if again, _ := doc.Metadata(); !again.Equal(m) {
		t.Error("the document changes with the caller's metadata")
	}
	bare := strings.NewReplacer("volbridge:domain xmlns:volbridge=\"urn:volbridge:domain:1\"", "domain", "volbridge:", "").Replace(exampleElement)
	if diff := cmp.Diff(bare, string(m.Unqualified())); diff != "" {
		t.Errorf("unqualified: -want +got\n%s", diff)
	}
}

// TestLibvirtKeepsMetadata sets the metadata in libvirt's built-in test
// hypervisor and reads it back from the domain.
func TestLibvirtKeepsMetadata(t *testing.T) {
	if _, err := exec.LookPath("virsh"); err != nil {
		testenv.Missing(t, "virsh (package libvirt-clients)")
	}
	m := exampleMetadata()
	line := strings.Join(strings.Fields(string(m.Unqualified())), " ")
	cmd := exec.Command("virsh", "-c", "test:///default",
		"metadata test --uri "+Namespace+" --key "+Prefix+" --set '"+line+"'; dumpxml test")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("virsh: %v\n%s", err, out)
	}
	got, ok := mustParse(t, out[bytes.Index(out, []byte("<domain")):]).Metadata()
	if !ok || !got.Equal(m) {
		t.Errorf("got %+v, want %+v\n%s", got, m, out)
	}
}
