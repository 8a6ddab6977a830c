package packaging_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// rpm works on the scratch root from outside and runs the scriptlets in it. The
// root is Debian's, so it has none of the packages that ours asks for (--nodeps).
func (s *scratch) rpm(args ...string) (stderr string) {
	s.t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("rpm", append([]string{"--root=" + s.dir, "--dbpath=/var/lib/rpm", "--nodeps"}, args...)...)
	cmd.Stderr, cmd.Stdout = &out, &out
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"}
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("rpm %s: %v: %s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// newRPMScratch has folders that other packages of a distribution with rpm have.
func newRPMScratch(t *testing.T) *scratch {
	t.Helper()
	need(t, "rpm")
	s := newScratch(t)
	for _, dir := range []string{"/etc/libvirt/hooks", "/usr/share/licenses", "/usr/share/man/man1", "/usr/share/man/man5", "/usr/share/man/man8",
		"/usr/share/fish/vendor_completions.d", "/usr/share/zsh/site-functions", "/usr/lib/systemd/system-preset"} {
		if err := os.MkdirAll(s.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// settings is where the configuration is, and saved where rpm puts it when the
// package goes.
const (
	settings = "/etc/volbridge/volbridge.toml"
	saved    = settings + ".rpmsave"
)

func (s *scratch) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// holds reports a file whose text is another one.
func (s *scratch) holds(name, want string) {
	s.t.Helper()
	if text, err := os.ReadFile(s.path(name)); err != nil || string(text) != want {
		s.t.Errorf("%s is %q, %v; want %q", name, text, err, want)
	}
}

// TestRPMLife installs, upgrades, removes and installs again.
func TestRPMLife(t *testing.T) {
	s := newRPMScratch(t)
	b := build(t)
	before := s.files()

	s.rpm("--install", b.file(t, older, "*.rpm"))
	s.installed()
	s.rpm("--verify", "volbridge") // it succeeds only if every file is as packed
	const mine = "[pool.fast]\ntype = \"dir\"\npath = \"/srv/volbridge\"\n"
	s.write(settings, mine)
	s.attach()
	if said := s.rpm("--upgrade", b.file(t, newer, "*.rpm")); strings.Contains(said, "attached") {
		t.Errorf("an upgrade warns: %q", said)
	}
	s.installed()
	s.holds(settings, mine)
	warned := s.rpm("--erase", "volbridge")
	if !strings.Contains(warned, "fast/disk1, disk vda of domain web1") || !strings.Contains(warned, "volbridge recover") || !strings.Contains(warned, "it is put back") {
		t.Errorf("removing with a volume attached says %q", warned)
	}

	// rpm knows no purge: what was changed is set aside, and the records stay.
	for _, kept := range []string{saved, "/var/lib/volbridge/state.db"} {
		if !s.exists(kept) {
			t.Errorf("%s went with the package", kept)
		}
	}

	// What removal advises: without its pools, recovery would return nothing.
	if err := os.Chmod(s.path(saved), 0o644); err != nil {
		t.Fatal(err)
	}
	if said := s.rpm("--install", b.file(t, newer, "*.rpm")); !strings.Contains(said, saved) || !strings.Contains(said, "in force again") {
		t.Errorf("installing again says %q", said)
	}
	s.installed()
	s.holds(settings, mine)
	if s.exists(saved) {
		t.Errorf("%s is there once more", saved)
	}
	if out, _ := s.run("volbridge", "attached"); out != "fast/disk1, disk vda of domain web1\n" {
		t.Errorf("installed again, attached says %q", out)
	}

	// Settings that are there already are somebody's too.
	s.rpm("--erase", "volbridge")
	const others = "  host_name = \"kvm01\" # and no pool\n"
	s.write(settings, others)
	if said := s.rpm("--install", b.file(t, newer, "*.rpm")); !strings.Contains(said, settings+" ") || !strings.Contains(said, saved) {
		t.Errorf("installing beside other settings says %q", said)
	}
	s.holds(settings, others)
	s.holds(saved, mine)

	s.rpm("--erase", "volbridge")
	for _, dir := range []string{"/etc/volbridge", "/var/lib/volbridge", "/run/volbridge"} {
		os.RemoveAll(s.path(dir))
	}
	sameFiles(t, before, s.files())
}

// TestRPMDamagedRecords: who removes the package hears that it is not known what
// is attached, and it goes.
func TestRPMDamagedRecords(t *testing.T) {
	s := newRPMScratch(t)
	s.rpm("--install", build(t).file(t, older, "*.rpm"))
	words := s.damage()
	if warned := s.rpm("--erase", "volbridge"); !strings.Contains(warned, "could not be seen") || !strings.Contains(warned, words) {
		t.Errorf("removing says %q, not %q", warned, words)
	}
	if s.exists("/usr/bin/volbridge") || !s.exists("/var/lib/volbridge/state.db") {
		t.Error("the program is there, or the records are not")
	}
}
