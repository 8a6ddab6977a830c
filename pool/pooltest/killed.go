package pooltest

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

// testKilled kills a process at some moment of its work, again and again: what
// it leaves can be cleared with the calls of the contract.
func testKilled(t *testing.T, f Fixture, b Provider) {
	settings, err := json.Marshal(f.Settings)
	must(t, err)
	for kills := range 10 {
		r := startRacer(t, job{Pool: f.Pool, Settings: settings, Do: "until killed", N: kills})
		_, err := io.WriteString(r.in, "go\n")
		must(t, err)
		for range 2 + kills%3 { // ready, and some rounds
			r.answer()
		}
		must(t, r.cmd.Process.Kill())
		io.Copy(&r.output, r.out)
		r.cmd.Wait()
		if strings.Contains(r.output.String(), "FAIL") {
			t.Fatalf("it failed before it was killed: %s", r.output.String())
		}
		volumes, err := b.List(t.Context())
		must(t, err)
		for _, v := range volumes {
			clearVolume(t, b, v)
		}
		if left, err := b.List(t.Context()); err != nil || len(left) != 0 {
			t.Fatalf("left: %v, %v", left, err)
		}
	}
}

func clearVolume(t *testing.T, b Provider, v pool.Volume) {
	t.Helper()
	if _, err := b.Resize(t.Context(), v.Name, 64*mib); err != nil {
		t.Errorf("a volume that a killed process has left: %v", err)
	}
	holders, err := b.Holders(t.Context(), v.Name)
	must(t, err)
	for _, h := range holders {
		must(t, revoke(t.Context(), b, v.Name, h.Host))
	}
	must(t, b.Delete(t.Context(), v.Name, v.CreationID))
}
