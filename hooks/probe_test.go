package hooks

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestProbeLine(t *testing.T) {
	for name, a := range map[string]ProbeAnswer{
		"ok":      {Version: 1, Host: "kvm02"},
		"refused": {Version: 1, Host: "kvm02", Refused: `pool "fast": no such directory: mount it`},
	} {
		line := FormatProbe(a)
		inError := "error: Hook script execution failed: internal error: Child process (LC_ALL=C /etc/libvirt/hooks/qemu.d/50-volbridge x prepare begin -) unexpected exit status 1: " + line + "\n\nmore"
		if got, ok := ParseProbe(inError); !ok || got != a {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
}

func TestProbeLineIsOneLine(t *testing.T) {
	line := FormatProbe(ProbeAnswer{Version: 1, Host: "h", Refused: "a:\n  b\tc"})
	if want := "volbridge-probe: version=1 host=h refused: a: b c"; line != want {
		t.Errorf("%q", line)
	}
}

func TestNoProbeAnswer(t *testing.T) {
	for _, text := range []string{"", "volbridge-probe: ", "volbridge on kvm02: disk vda", "volbridge-probe: version=x host=h ok",
		"volbridge-probe: version=99999999999999999999 host=h ok", "volbridge-probe: version=1 host=h"} {
		if a, ok := ParseProbe(text); ok {
			t.Errorf("%q: %+v", text, a)
		}
	}
}

func TestProbeIsAnsweredAtPrepareOnly(t *testing.T) {
	h := newTestHook(t, "host_name = \"kvm02\"\nhost_id = \"x\"\n")
	h.pool(t, "fast")
	h.pool(t, "slow")
	// On a host where the share is not mounted, the directory is empty.
	bare := h.pool(t, "bare")
	if err := errors.Join(os.RemoveAll(bare), os.Mkdir(bare, 0o755)); err != nil {
		t.Fatal(err)
	}
	xml := "<domain type='kvm'><name>volbridge-probe-1</name><uuid>" + uuid + "</uuid><devices><disk type='block'><source dev='" +
		ProbePath([]string{"fast", "%s"}) + "'/><target dev='vda'/></disk></devices></domain>"
	for second, want := range map[string]string{
		"slow": "volbridge-probe: version=1 host=kvm02 ok\n",
		"bare": "volbridge-probe: version=1 host=kvm02 refused: pool \"bare\": check pool bare: no pool here yet: ",
		"gone": "volbridge-probe: version=1 host=kvm02 refused: pool \"gone\": pool is not configured",
	} {
		probe := strings.Replace(xml, "%s", second, 1)
		r := h.run(probe, "prepare", "begin")
		if r.exit != 1 || !strings.HasPrefix(r.stderr, want) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("exit %d, %q; want %q", r.exit, r.stderr, want)
		}
		for _, op := range [][2]string{{"migrate", "begin"}, {"reconnect", "begin"}, {"release", "end"}, {"stopped", "end"}} {
			if r := h.run(probe, op[0], op[1]); r != (result{}) {
				t.Errorf("%s: %+v", op, r)
			}
		}
	}
	h.breakConfig(t)
	r := h.run(strings.Replace(xml, "%s", "slow", 1), "prepare", "begin")
	if a, ok := ParseProbe(r.stderr); r.exit != 1 || !ok || !strings.Contains(a.Refused, "line 1") {
		t.Errorf("with a broken configuration: %+v", r)
	}
}
