package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/pool"
)

const adoptable = `<domain type='test'>
  <name>web</name>
  <uuid>5b7e8b0a-3f2d-4a0e-9d6c-0123456789ab</uuid>
  <memory>8192</memory>
  <os><type>hvm</type></os>
  <devices>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw'/>
      <source dev='/dev/volbridge/fast/web'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='raw'/>
      <source pool='fast' volume='data'/>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/srv/other.qcow2'/>
      <target dev='vdc' bus='virtio'/>
    </disk>
  </devices>
</domain>`

// connect opens libvirt's test driver; what is defined there is seen by the
// program too, because both are one process.
func connect(t *testing.T) *libvirt.Connect {
	t.Helper()
	conn, err := virt.Open("test:///default")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestAdopt(t *testing.T) {
	conn := connect(t)
	ta := newTestApp(t, "fast")
	ta.must(t, "volume", "create", "fast/web", "--size", "1GiB")
	ta.must(t, "volume", "create", "fast/data", "--size", "2GiB")
	dom, err := conn.DomainDefineXML(adoptable)
	if err != nil {
		t.Fatal(err)
	}
	defer dom.Free()
	before := stored(t, dom)

	out := ta.must(t, "domain", "adopt", "web", "--dry-run")
	for _, says := range []string{
		"disk vda would be recorded as volume fast/web (recognised by its path)",
		"disk vdb would be recorded as volume fast/data (recognised by its volume)",
		"the source of disk vdb is /dev/volbridge/fast/data",
	} {
		if !strings.Contains(out, says) {
			t.Errorf("dry run does not say %q:\n%s", says, out)
		}
	}
	if strings.Contains(out, "vdc") || string(stored(t, dom).Bytes()) != string(before.Bytes()) {
		t.Errorf("the dry run changed the definition, or took a strange disk:\n%s", out)
	}

	ta.must(t, "domain", "adopt", "web")
	wantAdopted(t, stored(t, dom))
	// Again: nothing is left to do.
	out = ta.must(t, "domain", "adopt", "web")
	if !strings.Contains(out, "disk vda is recorded already") || strings.Contains(out, "the source of") {
		t.Errorf("the second time:\n%s", out)
	}
	wantAdopted(t, stored(t, dom))
}

func stored(t *testing.T, dom *libvirt.Domain) *domainxml.Document {
	t.Helper()
	doc, err := definition(dom, "web", libvirt.DOMAIN_XML_INACTIVE)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func wantAdopted(t *testing.T, doc *domainxml.Document) {
	t.Helper()
	meta, _ := doc.Metadata()
	want := "[{vda fast web 1073741824 } {vdb fast data 2147483648 }]"
	if got := fmt.Sprint(meta.Disks); got != want {
		t.Errorf("metadata has %s, want %s", got, want)
	}
	for target, source := range map[string]string{
		"vda": "/dev/volbridge/fast/web", "vdb": "/dev/volbridge/fast/data", "vdc": "/srv/other.qcow2",
	} {
		if d, ok := doc.Disk(target); !ok || d.Source != source {
			t.Errorf("disk %s has source %s, want %s", target, d.Source, source)
		}
	}
}

// TestAdoptRunning: a running domain gets the metadata, and its disks stay.
func TestAdoptRunning(t *testing.T) {
	conn := connect(t)
	ta := newTestApp(t, "fast")
	ta.must(t, "volume", "create", "fast/web", "--size", "1GiB")
	ta.must(t, "volume", "create", "fast/data", "--size", "2GiB")
	dom, err := conn.DomainDefineXML(adoptable)
	if err != nil {
		t.Fatal(err)
	}
	defer dom.Free()
	if err := dom.Create(); err != nil {
		t.Fatal(err)
	}
	defer dom.Destroy()
	out := ta.must(t, "domain", "adopt", "web", "--output", "json")
	for _, says := range []string{`"definition": "running"`, `"definition": "stored"`} {
		if !strings.Contains(out, says) {
			t.Errorf("not said: %s\n%s", says, out)
		}
	}
	live, err := definition(dom, "web", 0)
	if err != nil {
		t.Fatal(err)
	}
	if meta, _ := live.Metadata(); len(meta.Disks) != 2 {
		t.Errorf("live metadata = %+v", meta)
	}
	if d, _ := live.Disk("vdb"); d.Kind != "volume" {
		t.Errorf("the running disk vdb became %+v", d)
	}
	wantAdopted(t, stored(t, dom))
}

func TestAdoptNothing(t *testing.T) {
	connect(t)
	ta := newTestApp(t, "fast")
	for _, name := range []string{"test", "nobody"} {
		if _, err := ta.try(t, "domain", "adopt", name); exitCode(t.Context(), err) != exitNotFound {
			t.Errorf("adopt %s: %v, want not found", name, err)
		}
	}
}

// TestResizeAttached: the device of this host grows with its volume, and what
// remains to be done is said.
func TestResizeAttached(t *testing.T) {
	testenv.NeedRoot(t)
	name := fmt.Sprintf("test%d", os.Getpid()) // links are in the real /dev
	ta := newTestApp(t, name)
	ref := name + "/web"
	ta.must(t, "volume", "create", ref, "--size", "1MiB")
	conn := attach(t, ta, name)

	out := ta.must(t, "volume", "resize", ref, "--size", "3MiB")
	if !strings.Contains(out, "tell the guest: virsh blockresize shop vda 3145728B") {
		t.Errorf("not said what to do:\n%s", out)
	}
	conn.SizeBytes = 3 << 20
	if d, err := blockdev.Find(t.Context(), blockdev.System(), conn); err != nil || d.SizeBytes != 3<<20 {
		t.Errorf("device = %+v, %v; want 3 MiB", d, err)
	}
	if out := ta.must(t, "volume", "resize", ref, "--size", "3MiB", "-o", "json"); !strings.Contains(out, `"grown_here": true`) {
		t.Errorf("again:\n%s", out)
	}
	if out := ta.must(t, "volume", "info", ref); !strings.Contains(out, "disk vda of domain shop (held)") {
		t.Errorf("info:\n%s", out)
	}
	if _, err := ta.try(t, "volume", "delete", ref, "--yes"); exitCode(t.Context(), err) != exitRefused {
		t.Errorf("delete of an attached volume: %v, want it refused", err)
	}
}

// attach does what the hook does for domain shop, and undoes it at the end.
func attach(t *testing.T, ta *testApp, name string) blockdev.Connection {
	t.Helper()
	c, err := config.Load(os.Getenv("VOLBRIDGE_CONFIG"), ta.drivers)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.OpenPools(bridge.ErrNoPool, nil).Open(name)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := state.BootID("/proc")
	if err != nil {
		t.Fatal(err)
	}
	self := pool.Host{Name: "kvm01", ID: "id1"}
	conn, err := b.Grant(t.Context(), pool.GrantRequest{Volume: "web", Host: self, BootID: boot, Mode: pool.Exclusive,
		Owner: pool.Owner{UUID: "5b7e8b0a-3f2d-4a0e-9d6c-0123456789ab", Name: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blockdev.Attach(t.Context(), blockdev.System(), conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.SizeBytes = 3 << 20
		if err := blockdev.Detach(context.Background(), blockdev.System(), conn); err != nil {
			t.Errorf("detach: %v", err)
		}
		// The folders of the links stay; others may use the upper one.
		if os.Remove(filepath.Dir(conn.Path)) == nil {
			_ = os.Remove(filepath.Dir(filepath.Dir(conn.Path)))
		}
	})
	store, err := state.Open(t.Context(), c.StatePath(), boot)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	a, _, err := store.Claim(t.Context(), state.Attachment{
		DomainUUID: "5b7e8b0a-3f2d-4a0e-9d6c-0123456789ab", DomainName: "shop", Target: "vda", Pool: name, Volume: "web", Mode: "exclusive",
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Phase = state.Held
	if err := store.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestWithoutLibvirt hides libvirt's library in a mount namespace: what does
// not need it works, the rest names the package.
func TestWithoutLibvirt(t *testing.T) {
	testenv.NeedRoot(t)
	libraries, err := filepath.Glob("/usr/lib*/*/libvirt.so.0")
	if more, _ := filepath.Glob("/usr/lib*/libvirt.so.0"); err != nil || len(libraries)+len(more) == 0 {
		testenv.Missing(t, "libvirt's library")
	}
	program := filepath.Join(t.TempDir(), "volbridge")
	if err := os.Symlink(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	script := `for l in /usr/lib*/*/libvirt.so.0 /usr/lib*/libvirt.so.0; do test ! -e $l || mount --bind /dev/null $(readlink -f $l) || exit 9; done
"$0" version -o json && exec "$0" domain disks web`
	cmd := exec.Command("unshare", "-m", "sh", "-c", script, program)
	cmd.Env = append(os.Environ(), "VOLBRIDGE_CONFIG=/nowhere")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitFailure {
		t.Errorf("ended with %v: %s", err, out)
	}
	for _, says := range []string{`"version":`, "install libvirt0", `hint: "web" is no file`} {
		if !strings.Contains(string(out), says) {
			t.Errorf("not said: %s\n%s", says, out)
		}
	}
}
