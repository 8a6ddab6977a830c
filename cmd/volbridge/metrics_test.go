package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
	lab "github.com/volbridge/volbridge/lab/flasharray"
)

// What processes measured is told once, with what the host has now: calls that
// went well and badly, without a volume, a domain or a secret.
func TestMetrics(t *testing.T) {
	a, settings := startArray(t)
	ta := arrayApp(t, a.URL, settings)
	ta.must(t, "volume", "create", "flash/web", "--size", "1MiB")
	dir := filepath.Dir(os.Getenv("VOLBRIDGE_CONFIG"))
	store, err := state.Open(t.Context(), filepath.Join(dir, "state", "state.db"), "boot1")
	if err != nil {
		t.Fatal(err)
	}
	at := state.Attachment{DomainUUID: "u", DomainName: "guest7", Pool: "flash", Volume: "web", Mode: "exclusive"}
	if _, _, err := store.Claim(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	at.Phase = state.Pending
	if err := store.Update(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	out := ta.must(t, "metrics", "-c", "test:///default")
	for _, want := range []string{
		`volbridge_attachments{phase="pending",pool="flash"} 1`, `volbridge_grants{pool="flash"} 1`, "volbridge_pending_arrivals 1\n",
		`volbridge_pool_call_duration_seconds_count{pool="flash",result="ok"} `, "# TYPE volbridge_pool_call_duration_seconds histogram",
		`volbridge_findings{kind="attachment",`, "volbridge_samples_dropped_total 0",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	for _, secret := range []string{"web", "guest7", lab.TestToken} {
		if strings.Contains(out, secret) {
			t.Errorf("tells %q:\n%s", secret, out)
		}
	}
}

func TestMetricsTextfile(t *testing.T) {
	ta := newTestApp(t, "fast")
	dir := t.TempDir()
	ta.must(t, "metrics", "-c", "test:///default", "--textfile", dir)
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != "volbridge.prom" {
		t.Fatal(list, err)
	}
	if info, err := list[0].Info(); err != nil || info.Mode().Perm() != 0o644 {
		t.Error(info.Mode(), err)
	}
	if _, err := ta.try(t, "metrics", "-c", "test:///default", "--textfile", filepath.Join(dir, "x.txt")); err == nil || !strings.Contains(err.Error(), ".prom") {
		t.Error(err)
	}
	// A libvirt that does not answer is told, and the rest too.
	out := ta.must(t, "metrics", "-c", "qemu+unix:///system?socket=/nowhere")
	if !strings.Contains(out, "volbridge_findings_known 0\n") || !strings.Contains(out, "volbridge_unfinished 0\n") {
		t.Error(out)
	}
}
