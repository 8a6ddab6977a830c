package packaging_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReproducible packs the same programs twice.
func TestReproducible(t *testing.T) {
	b := build(t)
	again := t.TempDir()
	if err := b.make(again, older); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(again)
	if err != nil || len(entries) != 4 {
		t.Fatalf("%d files, want a deb, an rpm, an SBOM and checksums; %v", len(entries), err)
	}
	for _, e := range entries {
		first, err := os.ReadFile(filepath.Join(b.dir, older, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(again, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s is not the same when it is made again", e.Name())
		}
	}
}

func TestChecksums(t *testing.T) {
	b := build(t)
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = filepath.Join(b.dir, older)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 3 {
		t.Errorf("%v: %s", err, out)
	}
}

// TestBill: every module that go finds in the programs is in the SBOM.
func TestBill(t *testing.T) {
	b := build(t)
	text, err := os.ReadFile(b.file(t, older, "*.spdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Version  string `json:"spdxVersion"`
		Packages []struct{ Name, SPDXID, VersionInfo string }
	}
	if err := json.Unmarshal(text, &bill); err != nil || bill.Version != "SPDX-2.3" {
		t.Fatalf("%q, %v", bill.Version, err)
	}
	have, ids := map[string]bool{}, map[string]bool{}
	for _, p := range bill.Packages {
		have[p.Name+" "+p.VersionInfo] = true
		if ids[p.SPDXID] {
			t.Errorf("two packages are called %s", p.SPDXID)
		}
		ids[p.SPDXID] = true
	}
	modules := 0
	for line := range strings.Lines(output(t, "go", "version", "-m", b.bin+"/volbridge", b.bin+"/volbridge-hook")) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
			modules++
			if !have[f[1]+" "+f[2]] {
				t.Errorf("the SBOM lacks %s %s", f[1], f[2])
			}
		}
	}
	if modules < 20 {
		t.Errorf("only %d modules", modules)
	}
}

var (
	blanks = regexp.MustCompile(` +`)
	sizes  = regexp.MustCompile(`(?m)^(\S+ \S+) \d+ \S+ \S+ `)
)

// many are files of which each new command, or text, adds one. That each command
// has its page, cmd/volbridge tests.
var many = regexp.MustCompile(`(?m)(/man1/volbridge-)[a-z-]+(\.1\.gz)|(/doc/volbridge/)[A-Za-z]+(\.md)`)

// oneOfMany lists such files once, with a "*".
func oneOfMany(list string) string {
	var b strings.Builder
	seen := map[string]bool{}
	for line := range strings.Lines(many.ReplaceAllString(list, "$1$3*$2$4")) {
		if !seen[line] {
			b.WriteString(line)
		}
		seen[line] = true
	}
	return b.String()
}

// TestDebFiles: modes, owners and names of everything in it.
func TestDebFiles(t *testing.T) {
	need(t, "dpkg-deb")
	list := output(t, "dpkg-deb", "--contents", build(t).file(t, older, "*.deb"))
	golden(t, "deb.golden", oneOfMany(sizes.ReplaceAllString(blanks.ReplaceAllString(list, " "), "$1 ")))
}

func TestDebControl(t *testing.T) {
	need(t, "dpkg-deb")
	deb := build(t).file(t, older, "*.deb")
	if got := output(t, "dpkg-deb", "--info", deb, "conffiles"); got != "/etc/volbridge/volbridge.toml\n" {
		t.Errorf("conffiles: %q", got)
	}
	control := output(t, "dpkg-deb", "--field", deb)
	for _, want := range []string{"libvirt-daemon-system (>= 9.0.0)", "libvirt0 (>= 9.0.0)", "libc6 (>= 2.", "Version: 1.0.0-1\n"} {
		if !strings.Contains(control, want) {
			t.Errorf("control lacks %q: %s", want, control)
		}
	}
}

func TestRPMFiles(t *testing.T) {
	need(t, "rpm")
	file := build(t).file(t, older, "*.rpm")
	golden(t, "rpm.golden", oneOfMany(output(t, "rpm", "-qp", "--queryformat", `[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES} %{FILELINKTOS}\n]`, file)))
	if got := output(t, "rpm", "-qp", "--queryformat", `[%{FILENAMES} %{FILEFLAGS:fflags}\n]`, file); !strings.Contains(got, "/etc/volbridge/volbridge.toml cn\n") {
		t.Errorf("volbridge.toml is not %%config(noreplace): %s", got)
	}
	host, _ := os.Hostname()
	if got := output(t, "rpm", "-qp", "--queryformat", `%{BUILDHOST}`, file); got != "localhost" || got == host {
		t.Errorf("the rpm says that it was made on %q", got)
	}
	requires := strings.Split(strings.TrimSpace(output(t, "rpm", "-qp", "--requires", file)), "\n")
	for _, want := range []string{"libvirt-daemon-driver-qemu >= 9.0.0", "libvirt-libs >= 9.0.0"} {
		if !slices.Contains(requires, want) {
			t.Errorf("requires %q, not %q", requires, want)
		}
	}
}

func TestLintian(t *testing.T) {
	need(t, "lintian")
	out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", build(t).file(t, older, "*.deb")).CombinedOutput()
	if err != nil {
		t.Errorf("lintian: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "E:") || strings.HasPrefix(line, "W:") {
			t.Error(strings.TrimSpace(line))
		}
	}
}

// TestRPMLint runs in a scratch root: rpmlint unpacks with cpio, which takes the
// names as they are, and in a package made by nfpm they begin with a slash.
func TestRPMLint(t *testing.T) {
	need(t, "rpmlint")
	file := build(t).file(t, older, "*.rpm")
	s := scratchOver(t, "/")
	out, err := s.command("rpmlint", "-c", s.copyIn("rpm/rpmlint.toml"), s.copyIn(file)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "0 errors, 0 warnings") {
		t.Errorf("rpmlint: %v\n%s", err, out)
	}
}

func TestShellcheck(t *testing.T) {
	need(t, "shellcheck")
	scripts, _ := filepath.Glob("deb/p*")
	more, _ := filepath.Glob("rpm/p*")
	if len(scripts) != 4 || len(more) != 3 {
		t.Fatalf("scripts %q, %q", scripts, more)
	}
	output(t, "shellcheck", append([]string{"--shell=sh"}, append(scripts, more...)...)...)
}

// TestDocumentsLead: where a document that is packed leads, the packages have it.
func TestDocumentsLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^):#]+)(#[^)]*)?\)`)
	packed := []string{"README.md", "docs/*.md", "docs/quickstart/*.md"}
	checked := 0
	for _, pattern := range packed {
		files, err := filepath.Glob("../" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range link.FindAllSubmatch(text, -1) {
				target, err := filepath.Rel("..", filepath.Join(filepath.Dir(file), string(l[1])))
				if err != nil {
					t.Fatal(err)
				}
				is := func(pattern string) bool { ok, _ := filepath.Match(pattern, target); return ok }
				_, err = os.Stat("../" + target)
				if checked++; err != nil || target != "CHANGELOG.md" && !slices.ContainsFunc(packed, is) {
					t.Errorf("%s leads to %s, which the packages do not have (%v)", file, target, err)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d links were found", checked)
	}
}
