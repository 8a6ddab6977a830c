package hooks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/bridge"
)

func TestStop(t *testing.T) {
	const (
		up   = "2026-11-21 05:00:00.000+0000: starting up libvirt version: 9.0.0\n"
		down = "2026-11-21 05:12:33.123+0000: shutting down, reason=destroyed\n"
		gone = "2026-11-21 06:12:33.123+0000: shutting down, reason=migrated\n"
		send = "2026-11-21 05:11:00.000+0000: initiating migration\n"
	)
	at := time.Date(2026, 11, 21, 5, 12, 33, 123e6, time.UTC)
	for name, c := range map[string]struct {
		extra, log string
		want       bridge.Stop
	}{
		"libvirt says it":        {"shutdown", up + down, bridge.Stop{Reason: "shutdown"}},
		"only the log does":      {"-", up + "qemu: terminating on signal 15\n" + down, bridge.Stop{Reason: "destroyed", Logged: at}},
		"the last line counts":   {"-", down + up + gone, bridge.Stop{Reason: "migrated", Logged: at.Add(time.Hour)}},
		"long log":               {"-", up + strings.Repeat("x", 100<<10) + "\n" + down, bridge.Stop{Reason: "destroyed", Logged: at}},
		"within a line":          {"-", up + "guest says " + down, bridge.Stop{}},
		"no time":                {"-", up + "2026-99-99 00:00:00.000+0000: shutting down, reason=destroyed\n", bridge.Stop{}},
		"sent away":              {"destroyed", up + send + down, bridge.Stop{}},
		"sent away, by the log":  {"-", up + send + "x\n" + down, bridge.Stop{}},
		"sent in an earlier run": {"destroyed", up + send + gone + up + down, bridge.Stop{Reason: "destroyed"}},
		"start not in the log":   {"destroyed", strings.Repeat("x\n", 200<<10) + down, bridge.Stop{}},
		"log was rotated":        {"destroyed", down, bridge.Stop{}},
		"empty":                  {"-", "", bridge.Stop{}},
	} {
		h := Hook{LogDir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(h.LogDir, "web1.log"), []byte(c.log), 0o600); err != nil {
			t.Fatal(err)
		}
		got := h.stop(Event{Domain: "web1", Extra: c.extra})
		if got.Reason != c.want.Reason || !got.Logged.Equal(c.want.Logged) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	none := Hook{LogDir: t.TempDir()}
	for _, domain := range []string{"web1", "../web1"} {
		for _, extra := range []string{"-", "destroyed"} {
			if got := none.stop(Event{Domain: domain, Extra: extra}); got != (bridge.Stop{}) {
				t.Errorf("%s: %+v", domain, got)
			}
		}
	}
}
