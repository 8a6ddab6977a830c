package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/flasharray/flasharraytest"
	"github.com/volbridge/volbridge/migrate"
	"github.com/volbridge/volbridge/pool"
)

// arrayApp is a program with the pool flash on the array at an address.
func arrayApp(t *testing.T, address, more string) *testApp {
	t.Helper()
	ta := newTestApp(t, "fast")
	file := os.Getenv("VOLBRIDGE_CONFIG")
	dir := filepath.Dir(file)
	token := filepath.Join(dir, "token")
	text := fmt.Sprintf("state_dir = %q\nrun_dir = %q\nhost_name = \"kvm01\"\nhost_id = \"id1\"\n[pool.flash]\ntype = \"flasharray\"\naddress = %q\napi_token_file = %q\nsession_dir = %q\n%s",
		filepath.Join(dir, "state"), filepath.Join(dir, "run"), strings.TrimPrefix(address, "https://"), token, filepath.Join(dir, "session"), more)
	for name, content := range map[string]string{file: text, token: lab.TestToken + "\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ta.pool = "flash"
	return ta
}

func startArray(t *testing.T) (a flasharraytest.Served, settings string) {
	t.Helper()
	a = flasharraytest.Start(t, lab.Options{Portals: []string{"192.0.2.1"}})
	return a, fmt.Sprintf("ca_file = %q\n", a.CAFile)
}

// Of a secret that is not set nothing is shown.
func TestPoolInfoShowsSecretsThatAreSet(t *testing.T) {
	a, settings := startArray(t)
	ta := arrayApp(t, a.URL, settings)
	for _, format := range []string{"text", "json"} {
		if out := ta.must(t, "pool", "info", "flash", "-o", format); strings.Contains(out, "[secret]") || !strings.Contains(out, "api_token_file") {
			t.Errorf("without secrets in the file:\n%s", out)
		}
	}
	file := os.Getenv("VOLBRIDGE_CONFIG")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "api_token_file", fmt.Sprintf("api_token = %q #", lab.TestToken), 1))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := ta.must(t, "pool", "info", "flash"); strings.Count(out, "[secret]") != 1 || strings.Contains(out, lab.TestToken) {
		t.Errorf("with a token in the file:\n%s", out)
	}
}

// A deletion says that the array keeps the volume, wherever it speaks of it.
func TestDeleteSaysWhatIsKept(t *testing.T) {
	a, settings := startArray(t)
	ta := arrayApp(t, a.URL, settings)
	ta.must(t, "volume", "create", "flash/web", "--size", "1MiB")
	var would deletedJSON
	if err := json.Unmarshal([]byte(ta.must(t, "volume", "rm", "flash/web", "-n", "-o", "json")), &would); err != nil {
		t.Fatal(err)
	}
	if !would.DryRun || would.SizeBytes != mebi || !strings.Contains(would.Kept, "vb-del-") {
		t.Errorf("%+v", would)
	}
	if out := ta.must(t, "volume", "rm", "flash/web", "-n"); !strings.Contains(out, would.Kept) {
		t.Errorf("dry run: %s", out)
	}
	ta.inTerminal, ta.in = true, strings.NewReader("yes\n")
	out := ta.must(t, "volume", "rm", "flash/web")
	if asked := ta.stderr.String(); !strings.Contains(asked, would.Kept) || strings.Contains(asked, "for good") {
		t.Errorf("asked %q", asked)
	}
	if !strings.Contains(out, would.Kept) || len(a.Volumes()) != 1 {
		t.Errorf("said %q; the array has %v", out, a.Volumes())
	}
}

func tinyImage(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		testenv.Missing(t, "qemu-img")
	}
	path := filepath.Join(t.TempDir(), "web.raw")
	if err := os.WriteFile(path, make([]byte, mebi), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Where a copy could not be written nothing is made for it: the array does not
// know this host, or does not answer.
func TestCopyWhereThisHostIsNotKnown(t *testing.T) {
	path := tinyImage(t)
	a, settings := startArray(t)
	for _, c := range []struct {
		name, address, settings string
		code                    int
		says                    string
	}{
		{"unknown host", a.URL, settings, exitRefused, "kvm01"},
		{"silent array", "https://127.0.0.1:1", "call_timeout = \"1s\"\n", exitFailure, "127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ta := arrayApp(t, c.address, c.settings)
			for _, more := range [][]string{nil, {"--dry-run"}} {
				_, err := ta.try(t, append([]string{"volume", "create", "flash/web", "--from", path}, more...)...)
				if exitCode(t.Context(), err) != c.code || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "nothing was changed") {
					t.Errorf("%v: code %d, %v", more, exitCode(t.Context(), err), err)
				}
			}
			if len(a.Volumes()) > 0 {
				t.Errorf("made %v", a.Volumes())
			}
		})
	}
}

// What a silent pool holds is not known, which is not the same as left.
func TestRecoverPastASilentPool(t *testing.T) {
	ta := arrayApp(t, "https://127.0.0.1:1", "call_timeout = \"1s\"\n")
	out, err := ta.try(t, "recover", "-n", "--connect", "test:///default")
	if !errors.Is(err, errUnknown) || exitCode(t.Context(), err) != exitFailure || !strings.Contains(out, "unknown  grant pool flash") {
		t.Errorf("%v:\n%s", err, out)
	}
	if err := leftover([]migrate.Finding{{Outcome: migrate.Unknown}, {Outcome: migrate.Unfinished}}); exitCode(t.Context(), err) != exitLeft {
		t.Errorf("with something left: %v", err)
	}
	if err := leftover([]migrate.Finding{{Outcome: migrate.Kept}, {Outcome: migrate.Recovered}}); err != nil {
		t.Errorf("with nothing left: %v", err)
	}
	if _, err := ta.try(t, "recover", "--abandon", "7", "--connect", "test:///default"); exitCode(t.Context(), err) != exitNotFound {
		t.Errorf("no such migration: %v", err)
	}
}

// The secret of a pool that is not there says nothing of its volumes: that is
// none of "no such volume".
func TestMissingSecretIsNotNotFound(t *testing.T) {
	a, settings := startArray(t)
	ta := arrayApp(t, a.URL, settings)
	if err := os.Remove(filepath.Join(filepath.Dir(os.Getenv("VOLBRIDGE_CONFIG")), "token")); err != nil {
		t.Fatal(err)
	}
	_, err := ta.try(t, "volume", "info", "flash/web")
	if exitCode(t.Context(), err) != exitFailure || errors.Is(err, pool.ErrNotFound) {
		t.Errorf("code %d: %v", exitCode(t.Context(), err), err)
	}
}
