package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool/drivers"
)

func TestDocumentListsAllChecks(t *testing.T) {
	text, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## The checks")
	var documented, have []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(table, -1) {
		documented = append(documented, m[1])
	}
	for _, c := range All() {
		have = append(have, c.ID)
		if c.Title == "" {
			t.Errorf("check %s has no title", c.ID)
		}
	}
	if d := cmp.Diff(have, documented); d != "" {
		t.Errorf("the checks and those of docs/doctor.md (-code +document):\n%s", d)
	}
}

// A check that hangs, whatever its context says, ends in time and names what it
// waited for; the others are done.
func TestACheckThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		began := time.Now()
		results := Run(t.Context(), &Env{}, []Check{
			{"stuck", "", func(ctx context.Context, _ *Env) []Finding {
				defer waiting(ctx, "pool flash")()
				<-hang
				return nil
			}},
			{"fine", "", func(context.Context, *Env) []Finding { return nil }},
			{"broken", "", func(context.Context, *Env) []Finding { panic("oops") }},
		})
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
		close(hang)
		if r := results[0]; r.Level != Fail || !strings.Contains(r.Findings[0].Seen, "it waited for pool flash") {
			t.Errorf("%+v", r)
		}
		if results[1].Level != OK || results[2].Level != Fail {
			t.Errorf("%+v", results)
		}
	})
}

// What several checks ask is asked once, and who asks is not bound by another's
// end.
func TestAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, asked := &Env{}, 0
		ask := func(ctx context.Context) (int, error) {
			return once(ctx, e, "x", askTime, func(context.Context) (int, error) {
				asked++
				time.Sleep(time.Second) // of the bubble's clock
				return 7, nil
			})
		}
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := ask(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if v, err := ask(t.Context()); v != 7 || err != nil || asked != 1 {
			t.Errorf("%d, %v, asked %d times", v, err, asked)
		}
	})
}

// fakeHost is a machine in a folder.
type fakeHost struct {
	Machine
	says map[string]string // program → what it prints
}

func (h fakeHost) Exec(_ context.Context, name string, _ ...string) (string, error) {
	text, ok := h.says[name]
	if !ok {
		return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
	}
	return text, nil
}

func newFakeHost(t *testing.T, files map[string]string) fakeHost {
	t.Helper()
	h := fakeHost{Machine: Machine{Root: t.TempDir()}, says: map[string]string{}}
	for path, text := range files {
		at := filepath.Join(h.Root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func configured(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "volbridge.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, drivers.All)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	drbdPool    = "[pool.d]\ntype = \"drbd\"\n"
	linstorPool = "[pool.l]\ntype = \"linstor\"\ncontrollers = [\"store1\"]\nresource_group = \"fast\"\n"
)

// TestDRBD: the lab's DRBD is played, so its versions are told here.
func TestDRBD(t *testing.T) {
	for name, c := range map[string]struct {
		pools         string
		files         map[string]string
		tools         string
		says, command string // "": nothing is found
	}{
		"8.4":                  {drbdPool, map[string]string{"/usr/sbin/drbdadm": "", "/sys/module/drbd/version": "8.4.11\n"}, "DRBDADM_VERSION=9.22.0\n", "", ""},
		"9":                    {linstorPool, map[string]string{"/usr/sbin/drbdadm": "", "/sys/module/drbd/version": "9.2.8\n"}, "DRBDADM_BUILDTAG=x\nDRBDADM_VERSION=9.22.0\n", "", ""},
		"no tools":             {drbdPool, map[string]string{"/usr/bin/apt-get": "", "/sys/module/drbd/version": "8.4.11\n"}, "", "no drbdadm", "apt-get install -y drbd-utils"},
		"no tools, on Fedora":  {drbdPool, map[string]string{"/usr/bin/dnf": "", "/sys/module/drbd/version": "8.4.11\n"}, "", "no drbdadm", "dnf install -y drbd-utils"},
		"LINSTOR on 8.4":       {linstorPool, map[string]string{"/usr/sbin/drbdadm": "", "/sys/module/drbd/version": "8.4.11\n"}, "DRBDADM_VERSION=9.22.0\n", "LINSTOR needs 9", ""},
		"old tools":            {drbdPool, map[string]string{"/usr/sbin/drbdadm": "", "/sys/module/drbd/version": "9.2.8\n"}, "DRBDADM_VERSION=8.9.10\n", "do not fit", "apt-get install -y drbd-utils"},
		"not loaded: skipped":  {drbdPool, map[string]string{"/usr/sbin/drbdadm": ""}, "", "see modules", ""},
		"no such pool: silent": {"", nil, "", "", ""},
	} {
		h := newFakeHost(t, c.files)
		if c.tools != "" {
			h.says["drbdadm"] = c.tools
		}
		got := checkDRBD(t.Context(), &Env{System: h, Config: configured(t, c.pools)})
		judge(t, name, got, c.says, c.command)
	}
}

func judge(t *testing.T, name string, got []Finding, says, command string) {
	t.Helper()
	switch {
	case says == "" && len(got) == 0:
	case says == "" || len(got) != 1 || !strings.Contains(got[0].Seen, says):
		t.Errorf("%s: %+v, want %q", name, got, says)
	case command != "" && (len(got[0].Commands) == 0 || got[0].Commands[0] != command):
		t.Errorf("%s: %q, want %q", name, got[0].Commands, command)
	}
}

func TestModules(t *testing.T) {
	const release = "/proc/sys/kernel/osrelease"
	for name, c := range map[string]struct {
		pools         string
		files         map[string]string
		says, command string
	}{
		"loaded":     {drbdPool, map[string]string{"/sys/module/drbd/version": "8.4.11"}, "", ""},
		"can be":     {drbdPool, map[string]string{release: "6.1\n", "/lib/modules/6.1/modules.dep": "kernel/drivers/block/drbd/drbd.ko: kernel/lib/lru_cache.ko\n"}, "is not loaded", "modprobe drbd"},
		"is not":     {drbdPool, map[string]string{release: "6.1\n"}, "kernel 6.1 has no module drbd", "modprobe drbd"},
		"on demand":  {"[pool.f]\ntype = \"dir\"\npath = \"/srv\"\n", map[string]string{release: "6.1\n", "/lib/modules/6.1/modules.dep": "kernel/drivers/block/loop.ko.xz:\n"}, "", ""},
		"built in":   {"[pool.f]\ntype = \"dir\"\npath = \"/srv\"\n", map[string]string{release: "6.1\n", "/lib/modules/6.1/modules.builtin": "kernel/drivers/block/loop.ko\n"}, "", ""},
		"like named": {"[pool.f]\ntype = \"dir\"\npath = \"/srv\"\n", map[string]string{release: "6.1\n", "/lib/modules/6.1/modules.dep": "kernel/drivers/block/loopback.ko:\n"}, "no module loop", "modprobe loop"},
	} {
		got := checkModules(t.Context(), &Env{System: newFakeHost(t, c.files), Config: configured(t, c.pools)})
		judge(t, name, got, c.says, c.command)
	}
}

const arrayPool = "[pool.a]\ntype = \"flasharray\"\naddress = \"array1\"\napi_token = \"00000000-1111-2222-3333-444444444444\"\n"

// TestMultipath: only volumes are taken from dm-multipath, each by its own name;
// another vendor's disk may be what this host runs from.
func TestMultipath(t *testing.T) {
	const (
		nguid, other     = "009714b5-cb91-634c-24a9-37470002b2c8", "0025385b-7150-1d05-0025-385b71501d05"
		wwid             = "eui.009714b5cb91634c24a937470002b2c8"
		sys              = "/sys/block/"
		multipath        = "/sys/module/nvme_core/parameters/multipath"
		blacklists, says = "printf 'blacklist {\\n\\twwid \"^%s$\"\\n}\\n' >", "dm-multipath holds nvme9n1 as mpatha"
	)
	held := func(nguid, wwid string) map[string]string {
		return map[string]string{
			sys + "nvme9n1/nguid": nguid + "\n", sys + "nvme9n1/holders/dm-9/x": "", "/dev/nvme9n1": "", "/dev/state.db": "",
			sys + "dm-9/dm/name": "mpatha\n", sys + "dm-9/dm/uuid": "mpath-" + wwid + "\n",
		}
	}
	with := func(files map[string]string, path, text string) map[string]string {
		files[path] = text
		return files
	}
	file := func(wwid string) string { return "/etc/multipath/conf.d/volbridge-" + wwid + ".conf" }
	const uuid = "uuid.11111111-2222-3333-4444-555555555555"
	for name, c := range map[string]struct {
		pools         string
		files         map[string]string
		attached      []state.Attachment
		says, command string // "": nothing is found, there is none
	}{
		"a volume":             {arrayPool, held(nguid, wwid), nil, says, fmt.Sprintf(blacklists, "eui[.]009714b5cb91634c24a937470002b2c8") + file(wwid)},
		"a volume with a UUID": {arrayPool, held(nguid, uuid), nil, says, fmt.Sprintf(blacklists, "uuid[.]11111111-2222-3333-4444-555555555555") + file(uuid)},
		"by a partition": {arrayPool, map[string]string{sys + "nvme9n1/nguid": nguid, sys + "nvme9n1/nvme9n1p1/holders/dm-9/x": "",
			sys + "dm-9/dm/name": "mpatha", sys + "dm-9/dm/uuid": "mpath-" + wwid}, nil, says, ""},
		"two paths of one": {arrayPool, with(with(held(nguid, wwid), sys+"nvme8n1/nguid", nguid), sys+"nvme8n1/holders/dm-9/x", ""), nil, "as mpatha", ""},
		"attached, of another make": {arrayPool, held(other, "eui.0025385b71501d050025385b71501d05"),
			[]state.Attachment{{Pool: "a", Volume: "v", Phase: state.Held, Path: "/dev/nvme9n1"}}, says, ""},
		"an odd name":             {arrayPool, held(nguid, `x" } defaults { find_multipaths "yes`), nil, says, "-"},
		"another vendor's":        {arrayPool, held(other, "eui.0025385b71501d050025385b71501d05"), nil, "", ""},
		"no NGUID":                {arrayPool, held("00000000-0000-0000-0000-000000000000", "nvme.144d-53"), nil, "", ""},
		"no map of dm-multipath":  {arrayPool, with(held(nguid, wwid), sys+"dm-9/dm/uuid", "LVM-abc"), nil, "", ""},
		"no pool on a FlashArray": {linstorPool, held(nguid, wwid), nil, "", ""},
		"the kernel does not":     {arrayPool, with(held(nguid, wwid), multipath, "N\n"), nil, "see nvme-multipath", "-"},
		"another's, nor does the kernel": {arrayPool, with(held(other, "eui.0025385b71501d050025385b71501d05"), multipath, "N\n"),
			nil, "", ""},
	} {
		h := newFakeHost(t, c.files)
		e := &Env{System: h, Config: configured(t, c.pools), Attachments: func(context.Context) ([]state.Attachment, error) { return c.attached, nil }}
		if c.attached != nil {
			e.Config.StateDir = "/dev" // which is there
			_, _ = once(t.Context(), e, "state", askTime, func(context.Context) ([]Finding, error) { return nil, nil })
		}
		got := checkMultipath(t.Context(), e)
		judge(t, name, got, c.says, "")
		switch commands := flat(got); {
		case c.command == "-" && commands != "":
			t.Errorf("%s: there are commands: %s", name, commands)
		case c.command != "" && c.command != "-" && !strings.Contains(commands, c.command):
			t.Errorf("%s: %s\nwant %s", name, commands, c.command)
		case strings.Contains(commands, "devnode"):
			t.Errorf("%s: NVMe disks of the host would be taken away: %s", name, commands)
		}
	}
}

func flat(findings []Finding) string {
	var commands []string
	for _, f := range findings {
		commands = append(commands, f.Commands...)
	}
	return strings.Join(commands, "\n")
}

func TestGroupOf(t *testing.T) {
	for name, want := range map[string]string{"vg-root": "vg", "guest--vg-root": "guest-vg", "a--b--c-d--e": "a-b-c", "": "", "x": "x"} {
		if got := groupOf(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, word := range []string{"/a/b-c.d", "", "a b", "it's", "$(x)", "a\nb", ";"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q: %q, %v", word, out, err)
		}
	}
}

// FuzzForeignText: what programs, logs and the kernel say is read without harm,
// and what is shown of it is one short line.
func FuzzForeignText(f *testing.F) {
	f.Add("volbridge-hook v1.0: libvirt's qemu hook")
	f.Add("DRBDADM_VERSION=9.22.0\nlibvirtd (enforce)\n")
	f.Add(`type=AVC apparmor="DENIED" comm="volbridge-hook"` + "\x1b[2J")
	f.Add("error: (LC_ALL=C /etc/libvirt/hooks/qemu.d/90-x a prepare begin -) status 1")
	f.Fuzz(func(t *testing.T, text string) {
		if build, err := parseBuild(text); err == nil && (build == "" || strings.ContainsAny(build, " \n")) {
			t.Errorf("build %q", build)
		}
		drbdVersion(text, "DRBDADM_VERSION=")
		enforced(text, "libvirtd")
		_ = groupOf(text)
		if line := oneLine(lastDenial(text, "/x")); strings.ContainsAny(line, "\n\x1b") || len([]rune(line)) > 401 {
			t.Errorf("%q", line)
		}
		if s := failedScript(errors.New(text)); s != "" && !strings.HasPrefix(s, hooksDir+"/") {
			t.Errorf("script %q", s)
		}
	})
}
