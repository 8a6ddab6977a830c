package packaging_test

import (
	"bufio"
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/state"
)

// dpkg in the root: what the packages depend on is not all there, and the root
// leaves documentation out, which is to be looked at.
func (s *scratch) dpkg(args ...string) (stdout, stderr string) {
	s.t.Helper()
	return s.run(append([]string{"dpkg", "--force-depends", "--path-include=/usr/share/doc/*", "--path-include=/usr/share/man/*"}, args...)...)
}

// attach records a volume as attached, as the hook does.
func (s *scratch) attach() {
	s.t.Helper()
	store, err := state.Open(s.t.Context(), s.path("/var/lib/volbridge/state.db"), "boot")
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	a := state.Attachment{DomainUUID: "5f3171e1-a16e-4dda-8964-d2687d59c722", DomainName: "web1", Target: "vda", Pool: "fast", Volume: "disk1", Mode: "exclusive", Phase: state.Held}
	if _, _, err := store.Claim(s.t.Context(), a); err != nil {
		s.t.Fatal(err)
	}
}

// daemon is a process that the packages take for libvirt's. It says "reloaded"
// at each SIGHUP.
func (s *scratch) daemon(name string) (reloaded func() bool, stop func()) {
	s.t.Helper()
	script := "#!/bin/sh\ntrap 'echo reloaded' HUP\ntrap 'exit 0' TERM\necho $$ >/run/" + name + ".pid\necho ready\nwhile :; do read line || :; [ \"$line\" = end ] && exit; done\n"
	if err := os.WriteFile(s.path("/tmp/"+name), []byte(script), 0o755); err != nil {
		s.t.Fatal(err)
	}
	// A shell cannot trap what was ignored when it began, as under nohup.
	cmd := s.command("env", "--default-signal=HUP", "/tmp/"+name)
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	said := make(chan string)
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	if got := <-said; got != "ready" {
		s.t.Fatalf("the daemon says %q", got)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		in.Close()
		cmd.Process.Kill()
		for range said {
		}
		cmd.Wait()
		os.Remove(s.path("/run/" + name + ".pid"))
		os.Remove(s.path("/tmp/" + name))
	}
	s.t.Cleanup(stop)
	return func() bool {
		// The shell acts on the signal when the line that follows it arrives.
		in.Write([]byte("end\n"))
		deadline := time.After(time.Minute)
		for hup := false; ; {
			select {
			case line, open := <-said:
				if !open {
					return hup
				}
				hup = hup || line == "reloaded"
			case <-deadline:
				s.t.Fatal("the daemon does not end")
			}
		}
	}, stop
}

// TestDebLife installs, upgrades, removes and purges.
func TestDebLife(t *testing.T) {
	b := build(t)
	s := newScratch(t)
	before := s.files()
	v1, v2 := s.copyIn(b.file(t, older, "*.deb")), s.copyIn(b.file(t, newer, "*.deb"))

	reloaded, stop := s.daemon("libvirtd")
	s.dpkg("--install", v1)
	if !reloaded() {
		t.Error("the first hook was installed, and libvirtd was not told")
	}
	stop()
	s.installed()

	// An upgrade keeps what was written, and leaves libvirt alone.
	const mine = "[pool.fast]\ntype = \"dir\"\npath = \"/srv/volbridge\"\n"
	if err := os.WriteFile(s.path("/etc/volbridge/volbridge.toml"), []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	s.attach()
	reloaded, stop = s.daemon("libvirtd")
	s.dpkg("--install", v2)
	if reloaded() {
		t.Error("libvirtd was told to reload at an upgrade")
	}
	stop()
	s.installed()
	if text, err := os.ReadFile(s.path("/etc/volbridge/volbridge.toml")); err != nil || string(text) != mine {
		t.Errorf("after the upgrade the configuration is %q, %v", text, err)
	}
	if out, _ := s.run("volbridge", "attached"); out != "fast/disk1, disk vda of domain web1\n" {
		t.Errorf("after the upgrade attached says %q", out)
	}

	_, warned := s.dpkg("--remove", "volbridge")
	if !strings.Contains(warned, "fast/disk1, disk vda of domain web1") || !strings.Contains(warned, "volbridge recover") {
		t.Errorf("removing with a volume attached says %q", warned)
	}
	for _, gone := range []string{"/usr/bin/volbridge", "/usr/sbin/volbridge-hook", "/usr/libexec/volbridge", "/etc/libvirt/hooks/qemu.d/50-volbridge"} {
		if s.exists(gone) {
			t.Errorf("%s is there after the package was removed", gone)
		}
	}
	for _, kept := range []string{"/etc/volbridge/volbridge.toml", "/var/lib/volbridge/state.db"} {
		if !s.exists(kept) {
			t.Errorf("%s went with the package, before a purge", kept)
		}
	}

	// What `pool add` keeps goes, and what a person put there is named.
	if err := os.MkdirAll(s.path("/etc/volbridge/secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"secrets/fast", "own.token"} {
		if err := os.WriteFile(s.path("/etc/volbridge/"+name), []byte("hush"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, warned = s.dpkg("--purge", "volbridge")
	if !strings.Contains(warned, "/etc/volbridge/own.token") || !strings.Contains(warned, "fast/disk1") || strings.Contains(warned, "hush") {
		t.Errorf("the purge says %q", warned)
	}
	os.Remove(s.path("/etc/volbridge/own.token"))
	os.Remove(s.path("/etc/volbridge"))
	sameFiles(t, before, s.files())
}

// TestDebBesideAnotherHook: a daemon that has seen a hook sees ours at once.
func TestDebBesideAnotherHook(t *testing.T) {
	b := build(t)
	s := newScratch(t)
	if err := os.MkdirAll(s.path("/etc/libvirt/hooks"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("/etc/libvirt/hooks/qemu"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := s.files()
	reloaded, stop := s.daemon("virtqemud")
	s.dpkg("--install", s.copyIn(b.file(t, older, "*.deb")))
	if reloaded() {
		t.Error("virtqemud was told to reload, and had a hook before")
	}
	stop()
	_, warned := s.dpkg("--purge", "volbridge")
	if warned != "" {
		t.Errorf("a purge with nothing attached says %q", warned)
	}
	sameFiles(t, before, s.files())
}

// damage makes records that nobody can read, and returns what the program says of
// them.
func (s *scratch) damage() (words string) {
	s.t.Helper()
	if err := os.MkdirAll(s.path("/var/lib/volbridge"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path("/var/lib/volbridge/state.db"), bytes.Repeat([]byte("torn"), 1024), 0o600); err != nil {
		s.t.Fatal(err)
	}
	out, err := s.command("volbridge", "--quiet", "attached").CombinedOutput()
	words, _, _ = strings.Cut(string(out), "\n")
	if err == nil || words == "" {
		s.t.Fatalf("of damaged records attached says %q, %v", out, err)
	}
	return words
}

// TestDebDamagedRecords: who removes or purges the package hears that it is not
// known what is attached, and it goes.
func TestDebDamagedRecords(t *testing.T) {
	b := build(t)
	s := newScratch(t)
	before := s.files()
	s.dpkg("--install", s.copyIn(b.file(t, older, "*.deb")))
	words := s.damage()
	for _, how := range []string{"--remove", "--purge"} {
		if _, warned := s.dpkg(how, "volbridge"); !strings.Contains(warned, "could not be seen") || !strings.Contains(warned, words) {
			t.Errorf("%s says %q, not %q", how, warned, words)
		}
		if s.exists("/usr/bin/volbridge") {
			t.Errorf("%s leaves the program", how)
		}
	}
	sameFiles(t, before, s.files())
}

// installed looks at what both kinds of package have to leave.
func (s *scratch) installed() {
	s.t.Helper()
	for name, mode := range map[string]os.FileMode{
		"/usr/bin/volbridge":                         0o755,
		"/etc/volbridge/volbridge.toml":              0o600,
		"/etc/volbridge":                             0o755,
		"/usr/share/doc/volbridge/examples/disk.xml": 0o644,
		"/usr/share/man/man8/volbridge-hook.8.gz":    0o644,
	} {
		info, err := os.Stat(s.path(name))
		if err != nil || info.Mode().Perm() != mode {
			s.t.Errorf("%s: %v, want mode %v: %v", name, info, mode, err)
		}
	}
	if info, err := os.Stat(s.path("/run/volbridge")); err != nil || info.Mode().Perm() != 0o700 {
		s.t.Errorf("/run/volbridge: %v, %v, want mode 0700", info, err)
	}
	if s.exists("/run/volbridge/first-hook") {
		s.t.Error("the mark of a first hook is left")
	}
	if !s.exists("/etc/systemd/system/timers.target.wants/volbridge-recover.timer") {
		s.t.Error("volbridge-recover.timer is not enabled")
	}
	// By the name that libvirt calls, through the links.
	if out, _ := s.run("/etc/libvirt/hooks/qemu.d/50-volbridge", "--version"); !strings.Contains(out, "libvirt's qemu hook") {
		s.t.Errorf("the hook says %q", out)
	}
	if out, _ := s.run("volbridge", "--output", "json", "version"); !strings.Contains(out, `"libvirt"`) {
		s.t.Errorf("the program does not find libvirt's library: %q", out)
	}
}
