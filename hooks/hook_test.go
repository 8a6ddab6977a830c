package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/hooks/scan"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/drivers"
)

const uuid = "4dea22b3-1d52-4df3-a516-782e98ab3fa0"

// testHook is a host in a folder. Only its /dev is the machine's.
type testHook struct {
	Hook
	dir       string
	recovered int
}

func newTestHook(t *testing.T, settings string) *testHook {
	t.Helper()
	dir := t.TempDir()
	h := &testHook{dir: dir}
	h.Hook = Hook{
		ConfigPath: filepath.Join(dir, "volbridge.toml"), HintDir: filepath.Join(dir, "hints"), Root: "/",
		Machine: blockdev.System(), Drivers: drivers.All, StoredDir: filepath.Join(dir, "qemu"),
		Recover: func() error { h.recovered++; return nil },
	}
	h.configure(t, fmt.Sprintf("state_dir = %q\nrun_dir = %q\n%s", filepath.Join(dir, "state"), filepath.Join(dir, "run"), settings))
	return h
}

func (h *testHook) configure(t *testing.T, more string) {
	t.Helper()
	f, err := os.OpenFile(h.ConfigPath, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(more)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func (h *testHook) breakConfig(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(h.ConfigPath, []byte("nonsense = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pool adds a dir pool with one volume, and returns its folder.
func (h *testHook) pool(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(h.dir, "pool-"+name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	h.configure(t, fmt.Sprintf("[pool.%s]\ntype = \"dir\"\npath = %q\n", name, path))
	backend := h.backend(t, name)
	if err := backend.(pool.Initialiser).Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := backend.(pool.Provisioner).Create(t.Context(), pool.CreateRequest{Name: "web1", SizeBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	return path
}

func (h *testHook) backend(t *testing.T, name string) pool.Backend {
	t.Helper()
	cfg, err := config.Load(h.ConfigPath, drivers.All)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cfg.OpenPools(bridge.ErrNoPool, nil).Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type result struct {
	exit           int
	stdout, stderr string
}

func (h *testHook) run(xml, op, subOp string) result {
	return h.runFrom(strings.NewReader(xml), op, subOp)
}

func (h *testHook) runFrom(stdin io.Reader, op, subOp string) result {
	var out, errOut bytes.Buffer
	h.Stdin, h.Stdout, h.Stderr = stdin, &out, &errOut
	exit := h.Run(context.Background(), []string{"web1", op, subOp, "-"})
	return result{exit, out.String(), errOut.String()}
}

func domain(disk string) string {
	return "<domain type='kvm'>\n  <name>web1</name>\n  <uuid>" + uuid + "</uuid>\n  <devices>\n" + disk + "\n  </devices>\n</domain>\n"
}

func blockDisk(path string) string {
	return "    <disk type='block' device='disk'><source dev='" + path + "'/><target dev='vda' bus='virtio'/></disk>"
}

var (
	unmanaged = domain("    <disk type='file' device='disk'><source file='/a.img'/><target dev='vda'/></disk>")
	// looksManaged only to the scan of its bytes.
	looksManaged = strings.Replace(unmanaged, "<name>", "<title>&#233;</title><name>", 1)
	broken       = strings.Replace(domain(blockDisk("/dev/volbridge/fast/web1")), "</devices>", "", 1)
)

// every operation of libvirt, and two that it does not have.
var operations = [][2]string{
	{"prepare", "begin"}, {"start", "begin"}, {"started", "begin"}, {"stopped", "end"}, {"release", "end"},
	{"migrate", "begin"}, {"restore", "begin"}, {"reconnect", "begin"}, {"attach", "begin"},
	{"prepare", "end"}, {"invented", "begin"},
}

// failing are the operations at which a managed domain that cannot be served
// is refused; complaining say so and succeed; all others say nothing.
var (
	failing     = map[string]bool{"prepare begin": true, "migrate begin": true, "restore begin": true}
	complaining = map[string]bool{"release end": true, "reconnect begin": true}
)

func TestOperationsOnDomainsThatCannotBeServed(t *testing.T) {
	big := func() io.Reader {
		return io.MultiReader(strings.NewReader("<domain><uuid>"+uuid+"</uuid><!--"), io.LimitReader(letters{}, 100<<20))
	}
	managed := domain(blockDisk("/dev/volbridge/fast/web1"))
	for name, c := range map[string]struct {
		stdin func() io.Reader
		spoil func(t *testing.T, h *testHook, pool string)
		want  string
		quiet map[string]bool // operations that have nothing to say here
		// recovers: of the release that could not be done at all.
		recovers int
	}{
		"broken XML": {stdin: reader(broken), want: "domain web1: ", quiet: map[string]bool{"release end": true, "reconnect begin": true}},
		"huge XML":   {stdin: big, want: "domain web1: read the XML from stdin: domain XML is too large: at most 16777216 bytes are read", quiet: map[string]bool{"release end": true, "reconnect begin": true}},
		"broken configuration": {stdin: reader(managed), want: "(correct it; \"volbridge pool check\" reads it): ",
			spoil: func(t *testing.T, h *testHook, _ string) { h.breakConfig(t) }},
		"pool is not configured": {stdin: reader(domain(blockDisk("/dev/volbridge/gone/web1"))), want: `pool "gone": pool is not configured`,
			quiet: map[string]bool{"release end": true}},
		"pool's folder is gone": {stdin: reader(managed), want: "fast", quiet: map[string]bool{"release end": true},
			spoil: func(t *testing.T, _ *testHook, pool string) { must(t, os.RemoveAll(pool)) }},
		"state cannot be opened": {stdin: reader(managed), want: "not a directory", recovers: 1,
			spoil: func(t *testing.T, h *testHook, _ string) {
				must(t, os.WriteFile(filepath.Join(h.dir, "state"), nil, 0o600))
			}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestHook(t, "host_name = \"kvm02\"\nhost_id = \"x\"\n")
			folder := h.pool(t, "fast")
			if c.spoil != nil {
				c.spoil(t, h, folder)
			}
			for _, op := range operations {
				event := op[0] + " " + op[1]
				r := h.runFrom(c.stdin(), op[0], op[1])
				if r.stdout != "" || (r.exit != 0) != failing[event] {
					t.Errorf("%s: exit %d, stdout %q", event, r.exit, r.stdout)
				}
				speaks := failing[event] || complaining[event] && !c.quiet[event]
				if speaks && !strings.Contains(firstLine(r.stderr), c.want) || !speaks && r.stderr != "" {
					t.Errorf("%s said %q", event, r.stderr)
				}
			}
			if h.recovered != c.recovers {
				t.Errorf("recovery was started %d times", h.recovered)
			}
		})
	}
}

func TestOperationsOnUnmanagedDomainsReadNothing(t *testing.T) {
	for name, xml := range map[string]string{"plain": unmanaged, "with a character reference": looksManaged} {
		h := newTestHook(t, "")
		h.breakConfig(t)
		for _, op := range operations {
			if r := h.run(xml, op[0], op[1]); r != (result{}) {
				t.Errorf("%s, %s: %+v", name, op, r)
			}
		}
		if _, err := os.Stat(filepath.Join(h.dir, "state")); !os.IsNotExist(err) {
			t.Errorf("%s: the state file was opened", name)
		}
	}
}

func TestLibvirtsOwnPoolIsNotOurs(t *testing.T) {
	xml := domain("    <disk type='volume' device='disk'><source pool='default' volume='a'/><target dev='vda'/></disk>")
	for name, spoil := range map[string]func(h *testHook){
		"configured":     func(*testHook) {},
		"broken file":    func(h *testHook) { h.breakConfig(t) },
		"file of others": func(h *testHook) { must(t, os.Chmod(h.ConfigPath, 0o666)) },
		"no file":        func(h *testHook) { must(t, os.Remove(h.ConfigPath)) },
		"a folder": func(h *testHook) {
			must(t, os.Remove(h.ConfigPath))
			must(t, os.Mkdir(h.ConfigPath, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestHook(t, "")
			spoil(h)
			for _, op := range operations {
				if r := h.run(xml, op[0], op[1]); r != (result{}) {
					t.Errorf("%s: %+v", op, r)
				}
			}
			if _, err := os.Stat(filepath.Join(h.dir, "state")); !os.IsNotExist(err) {
				t.Error("the state file was opened")
			}
		})
	}
}

// TestBrokenConfigurationNamesTheFile and what to do, wherever a disk of ours
// shows: by its path, the metadata or as the base of an overlay.
func TestBrokenConfigurationNamesTheFile(t *testing.T) {
	volume := "    <disk type='volume' device='disk'><source pool='fast' volume='web1'/><target dev='vda'/></disk>"
	for name, xml := range map[string]string{
		"path":     domain(blockDisk("/dev/volbridge/fast/web1")),
		"metadata": strings.Replace(domain(volume), "<devices>", "<metadata><v:domain xmlns:v='"+domainxml.Namespace+"'/></metadata><devices>", 1),
		"overlay": domain("    <disk type='file' device='disk'><source file='/s'/><backingStore type='block'><format type='raw'/>" +
			"<source dev='/dev/volbridge/fast/web1'/></backingStore><target dev='vda'/></disk>"),
	} {
		h := newTestHook(t, "")
		h.breakConfig(t)
		r := h.run(xml, "prepare", "begin")
		want := "configuration " + h.ConfigPath + " cannot be used (correct it; \"volbridge pool check\" reads it): "
		if r.exit != 1 || !strings.Contains(firstLine(r.stderr), want) || !strings.Contains(r.stderr, "line 1, nonsense: unknown key") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestOverlayIsRefused although neither its own source nor metadata is ours.
func TestOverlayIsRefused(t *testing.T) {
	xml := domain("    <disk type='file' device='disk'><source file='/s'/><backingStore type='block'><format type='raw'/>" +
		"<source dev='/dev/volbridge/fast/web1'/></backingStore><target dev='vda'/></disk>")
	h := newTestHook(t, "host_name = \"kvm02\"\nhost_id = \"x\"\n")
	h.pool(t, "fast")
	for _, op := range operations {
		event := op[0] + " " + op[1]
		r := h.run(xml, op[0], op[1])
		if (r.exit != 0) != failing[event] || r.stdout != "" || failing[event] && !strings.Contains(r.stderr, "virsh blockcommit web1 vda") {
			t.Errorf("%s: %+v", event, r)
		}
	}
}

func TestIdleOperationsDoNotReadStdin(t *testing.T) {
	h := newTestHook(t, "")
	for _, op := range operations {
		if _, active := ruleFor(Event{Op: op[0], SubOp: op[1]}); !active {
			if r := h.runFrom(unreadable{t}, op[0], op[1]); r != (result{}) {
				t.Errorf("%s: %+v", op, r)
			}
		}
	}
}

func TestTableAndScanAgree(t *testing.T) {
	for _, r := range table {
		if idle := scan.Needs(r.op, r.subOp) == scan.Nothing; idle != (r.do == nil) {
			t.Errorf("%s %s: scan says idle %v", r.op, r.subOp, idle)
		}
	}
}

func TestUsage(t *testing.T) {
	var errOut bytes.Buffer
	h := Hook{Stdin: unreadable{t}, Stdout: io.Discard, Stderr: &errOut}
	for _, args := range [][]string{nil, {"web1"}, {"web1", "prepare"}, {"", "prepare", "begin", "-"}} {
		if exit := h.Run(t.Context(), args); exit != 2 || !strings.Contains(errOut.String(), "libvirt calls this program") {
			t.Errorf("%q: exit %d, %q", args, exit, errOut.String())
		}
		errOut.Reset()
	}
}

// TestPanicAtReconnectDoesNotFail: its exit code decides over a running guest.
func TestPanicAtReconnectDoesNotFail(t *testing.T) {
	for op, want := range map[string]int{"reconnect": 0, "prepare": 1} {
		h := newTestHook(t, "")
		h.Drivers = []pool.Driver{{Type: "dir", Settings: func() any { panic("oh") }}}
		h.configure(t, "[pool.fast]\ntype = \"dir\"\n")
		r := h.run(domain(blockDisk("/dev/volbridge/fast/web1")), op, "begin")
		if r.exit != want || !strings.Contains(r.stderr, "internal error, please report it: oh") {
			t.Errorf("%s: %+v", op, r)
		}
	}
}

func TestUnfinishedReleaseStartsRecovery(t *testing.T) {
	testenv.NeedRoot(t)
	name := fmt.Sprintf("hooks%d", os.Getpid())
	h := newTestHook(t, "host_name = \"kvm02\"\nhost_id = \"x\"\n")
	h.pool(t, name)
	link := "/dev/volbridge/" + name + "/web1"
	t.Cleanup(func() { _ = os.Remove(filepath.Dir(link)); _ = os.Remove(filepath.Dir(filepath.Dir(link))) })
	xml := domain(blockDisk(link))
	if r := h.run(xml, "prepare", "begin"); r != (result{}) {
		t.Fatalf("%+v", r)
	}
	open, err := os.Open(link)
	must(t, err)
	r := h.run(xml, "release", "end")
	must(t, open.Close())
	if r.exit != 0 || h.recovered != 1 || !strings.Contains(firstLine(r.stderr), "volbridge on kvm02: disk vda of domain web1") {
		t.Errorf("%+v, recovered %d times", r, h.recovered)
	}
	if r := h.run(unmanaged, "release", "end"); r != (result{}) { // found by its hint
		t.Errorf("%+v", r)
	}
	if holders, err := h.backend(t, name).Holders(t.Context(), "web1"); err != nil || len(holders) > 0 {
		t.Errorf("%v, %v", holders, err)
	}
}

// An offline migration calls the hook as a live one does, and libvirt stores what it
// prints: a start by hand with that is no arrival. A definition that cannot be read
// may have the token too.
func TestOfflineMigrationBringsNoGuest(t *testing.T) {
	testenv.NeedRoot(t)
	name := fmt.Sprintf("hooks%d", os.Getpid())
	h := newTestHook(t, "host_name = \"kvm02\"\nhost_id = \"x\"\n")
	h.pool(t, name)
	link := "/dev/volbridge/" + name + "/web1"
	t.Cleanup(func() { _ = os.Remove(filepath.Dir(link)); _ = os.Remove(filepath.Dir(filepath.Dir(link))) })
	_, err := h.backend(t, name).Grant(t.Context(), pool.GrantRequest{Volume: "web1", Host: pool.Host{Name: "kvm01", ID: "y"},
		BootID: "boot", Owner: pool.Owner{UUID: uuid, Name: "web1"}, Mode: pool.Exclusive})
	must(t, err)
	sent := h.run(domain(blockDisk(link)), "migrate", "begin")
	if sent.exit != 0 || !strings.Contains(sent.stdout, "token=") {
		t.Fatalf("%+v", sent)
	}
	stored := filepath.Join(h.StoredDir, "web1.xml")
	must(t, os.Mkdir(h.StoredDir, 0o700))
	must(t, os.WriteFile(stored, []byte("<!-- libvirt -->\n"+sent.stdout), 0o600))
	if r := h.run(sent.stdout, "prepare", "begin"); r.exit != 1 || !strings.Contains(r.stderr, "held by host kvm01") {
		t.Errorf("started by hand: %+v", r)
	}
	must(t, os.Remove(stored))
	must(t, os.Mkdir(stored, 0o700))
	if r := h.run(sent.stdout, "prepare", "begin"); r.exit != 1 || !strings.Contains(r.stderr, "web1.xml: is a directory") {
		t.Errorf("not to be read: %+v", r)
	}
	must(t, os.Remove(stored))
	must(t, os.WriteFile(stored, []byte(domain(blockDisk(link))), 0o600))
	if r := h.run(sent.stdout, "prepare", "begin"); r != (result{}) { // it was defined here before
		t.Errorf("the arrival itself: %+v", r)
	}
	if r := h.run(sent.stdout, "release", "end"); r.exit != 0 {
		t.Errorf("%+v", r)
	}
}

func TestReportIsShort(t *testing.T) {
	var errOut bytes.Buffer
	h := &Hook{Stderr: &errOut}
	e := Event{Domain: "web1", Op: "prepare", SubOp: "begin"}
	c := &call{hook: h, event: e, log: newLog(e), host: "kvm02"}
	var errs []error
	for i := range 16 {
		errs = append(errs, fmt.Errorf("disk %d", i))
	}
	c.report(errors.Join(errs...))
	want := "volbridge on kvm02: disk 0\ndisk 1\ndisk 2\ndisk 3\nand 12 more: see \"journalctl -t volbridge-hook\" on kvm02\n"
	if errOut.String() != want {
		t.Errorf("%q", errOut.String())
	}
}

func TestXMLIsBounded(t *testing.T) {
	e := Event{stdin: letters{}}
	if _, err := e.XML(); !errors.Is(err, domainxml.ErrTooLarge) {
		t.Error(err)
	}
}

func reader(text string) func() io.Reader { return func() io.Reader { return strings.NewReader(text) } }

func firstLine(text string) string { return strings.SplitN(text, "\n", 2)[0] }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// letters never ends.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// unreadable fails the test when it is read.
type unreadable struct{ testing.TB }

func (u unreadable) Read([]byte) (int, error) {
	u.Error("stdin was read")
	return 0, io.EOF
}
