package packaging_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// mostExposed is what `systemd-analyze security` may say of the service: what it
// leaves open is explained there.
const mostExposed = 3.0

// TestUnits lets systemd judge the units as they are installed.
func TestUnits(t *testing.T) {
	need(t, "systemd-analyze")
	root := t.TempDir()
	units := filepath.Join(root, "usr/lib/systemd/system")
	for _, dir := range []string{units, filepath.Join(root, "usr/bin"), filepath.Join(root, "bin")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"usr/bin/volbridge", "bin/sh"} {
		if err := os.WriteFile(filepath.Join(root, program), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Of what the units name only the basic targets are needed; the machine's own
	// units are not to be judged.
	for _, name := range []string{"sysinit", "basic", "timers", "shutdown", "network-online", "remote-fs", "time-sync", "time-set"} {
		if err := os.WriteFile(filepath.Join(units, name+".target"), fmt.Appendf(nil, "[Unit]\nDescription=%s\n", name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, name := range []string{"volbridge-recover.service", "volbridge-recover.timer"} {
		text, err := os.ReadFile(filepath.Join("systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(units, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	verify := exec.Command("systemd-analyze", append([]string{"verify", "--root=" + root, "--man=no"}, names...)...)
	if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
	out := output(t, "systemd-analyze", "security", "--offline=true", "--no-pager", "--root="+root, "volbridge-recover.service")
	m := regexp.MustCompile(`exposure level for volbridge-recover.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze security says nothing: %s", out)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > mostExposed {
		t.Errorf("the service is exposed by %s, and %.1f is allowed: %s", m[1], mostExposed, openOnly(out))
	}
}

func openOnly(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "✗") {
			b.WriteString(line)
		}
	}
	return b.String()
}
