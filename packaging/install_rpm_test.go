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

// TestRPMLife installs, upgrades and removes.
func TestRPMLife(t *testing.T) {
	need(t, "rpm")
	b := build(t)
	s := newScratch(t)
	// Folders that other packages of a distribution with rpm have.
	for _, dir := range []string{"/etc/libvirt/hooks", "/usr/share/licenses", "/usr/share/man/man1", "/usr/share/man/man5", "/usr/share/man/man8",
		"/usr/share/fish/vendor_completions.d", "/usr/share/zsh/site-functions", "/usr/lib/systemd/system-preset"} {
		if err := os.MkdirAll(s.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	before := s.files()

	s.rpm("--install", b.file(t, older, "*.rpm"))
	s.installed()
	s.rpm("--verify", "volbridge") // it succeeds only if every file is as packed
	const mine = "[pool.fast]\ntype = \"dir\"\npath = \"/srv/volbridge\"\n"
	if err := os.WriteFile(s.path("/etc/volbridge/volbridge.toml"), []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	s.attach()
	if said := s.rpm("--upgrade", b.file(t, newer, "*.rpm")); strings.Contains(said, "attached") {
		t.Errorf("an upgrade warns: %q", said)
	}
	s.installed()
	if text, err := os.ReadFile(s.path("/etc/volbridge/volbridge.toml")); err != nil || string(text) != mine {
		t.Errorf("after the upgrade the configuration is %q, %v", text, err)
	}
	warned := s.rpm("--erase", "volbridge")
	if !strings.Contains(warned, "fast/disk1, disk vda of domain web1") || !strings.Contains(warned, "volbridge recover") {
		t.Errorf("removing with a volume attached says %q", warned)
	}

	// rpm knows no purge: what was changed is set aside, and the records stay.
	for _, kept := range []string{"/etc/volbridge/volbridge.toml.rpmsave", "/var/lib/volbridge/state.db"} {
		if !s.exists(kept) {
			t.Errorf("%s went with the package", kept)
		}
	}
	for _, dir := range []string{"/etc/volbridge", "/var/lib/volbridge", "/run/volbridge"} {
		os.RemoveAll(s.path(dir))
	}
	sameFiles(t, before, s.files())
}
