package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool/drivers"
)

func fileText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(os.Getenv("VOLBRIDGE_CONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The array is asked before anything is written: a wrong token is refused with
// the array's words, and is shown nowhere.
func TestPoolAddChecksTheArray(t *testing.T) {
	a, _ := startArray(t)
	ta := newTestApp(t, "fast")
	before := fileText(t)
	secrets := filepath.Join(filepath.Dir(os.Getenv("VOLBRIDGE_CONFIG")), "secrets")
	url := fmt.Sprintf("%s/api?transport=nvme-tcp&ca_file=%s&create_host=true&session_dir=%s", a.URL, a.CAFile, t.TempDir())
	const wrong = "99999999-2222-3333-4444-555555555555"
	ta.in = strings.NewReader(wrong)
	_, err := ta.try(t, "pool", "add", "flash", url, "--secret-file", "-")
	if err == nil || !strings.Contains(err.Error(), "pool flash was not added") || strings.Contains(err.Error(), wrong) {
		t.Errorf("wrong token: %v", err)
	}
	if _, err := os.Stat(secrets); fileText(t) != before || !os.IsNotExist(err) {
		t.Errorf("something was written: %v\n%s", err, fileText(t))
	}
	ta.in = strings.NewReader(lab.TestToken + "\n")
	out := ta.must(t, "pool", "add", "flash", url, "--secret-file", "-", "-o", "json")
	if strings.Contains(out, lab.TestToken) || strings.Contains(fileText(t), lab.TestToken) {
		t.Errorf("the token is shown: %s", out)
	}
	ta.must(t, "pool", "check", "flash")
	ta.must(t, "pool", "remove", "flash")
	if left, err := os.ReadDir(secrets); err != nil || len(left) != 0 || fileText(t) != before {
		t.Errorf("left %v, %v, %s", left, err, fileText(t))
	}
}

// A pool of which this host has records stays in the file.
func TestPoolRemoveWhileInUse(t *testing.T) {
	ta := newTestApp(t, "fast")
	c, err := config.Load(os.Getenv("VOLBRIDGE_CONFIG"), drivers.All)
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(t.Context(), c.StatePath(), "boot1")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	before := fileText(t)
	refused := func(says string) {
		t.Helper()
		_, err := ta.try(t, "pool", "remove", "fast")
		if exitCode(t.Context(), err) != exitRefused || !strings.Contains(err.Error(), says) || fileText(t) != before {
			t.Errorf("%v, want %q", err, says)
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := state.Attachment{DomainUUID: "u", DomainName: "web", Pool: "fast", Volume: "v", Mode: "exclusive"}
	_, _, err = store.Claim(t.Context(), at)
	ok(err)
	refused("domain web has volume fast/v (attaching)")
	at.Phase = state.Pending
	ok(store.Update(t.Context(), at))
	refused("(pending)")
	ok(store.Forget(t.Context(), at.Key()))
	ok(store.BeginCopy(t.Context(), state.Copy{OwnerUUID: "o", Pool: "fast", Volume: "v", Image: "/i"}))
	refused("image /i is copied")
	ok(store.EndCopy(t.Context(), "o"))
	id, err := store.BeginMigration(t.Context(), state.Migration{DomainName: "web", Detail: []byte(`{"plan":{"disks":[{"pool":"fast"}]}}`)})
	ok(err)
	refused("migration 1 of domain web")
	ok(store.SetMigration(t.Context(), id, state.Finished, nil))
	_, err = store.BeginMigration(t.Context(), state.Migration{DomainName: "db", Detail: []byte(`{"plan":{"disks":[{"pool":"slow","volume":"fast"}]}}`)})
	ok(err)
	ta.must(t, "pool", "remove", "fast")
	if _, there := mustLoad(t).Pool("fast"); there {
		t.Error("is still there")
	}
}

// A guest that starts while its pool is removed is seen at the second look: the
// file is as it was, with the secret, whenever the record appeared.
func TestPoolRemoveSeesWhoComesMeanwhile(t *testing.T) {
	for _, when := range []string{"create", "write", "sync", "rename", "sync folder"} {
		t.Run(when, func(t *testing.T) {
			ta := newTestApp(t, "fast")
			ta.in = strings.NewReader("geheim")
			ta.must(t, "pool", "add", "flash", flash, "--no-check", "--secret-file", "-")
			before, secret := fileText(t), filepath.Join(filepath.Dir(os.Getenv("VOLBRIDGE_CONFIG")), "secrets", "flash")
			ta.step = recordAt(t, when, nil)
			_, err := ta.try(t, "pool", "remove", "flash")
			if exitCode(t.Context(), err) != exitRefused || !strings.Contains(err.Error(), "domain web has volume flash/v (attaching)") {
				t.Errorf("the removal ended with %v", err)
			}
			if text, err := os.ReadFile(secret); err != nil || string(text) != "geheim\n" || fileText(t) != before {
				t.Errorf("the secret is %q, %v, and the file\n%s", text, err, fileText(t))
			}
		})
	}
}

// What somebody else has made of the file meanwhile is not undone.
func TestPoolRemoveLeavesAnothersChange(t *testing.T) {
	ta := newTestApp(t, "fast")
	ta.must(t, "pool", "add", "more", "dir://"+t.TempDir(), "--no-check")
	file := os.Getenv("VOLBRIDGE_CONFIG")
	ta.step = recordAt(t, "sync folder", func() {
		if err := os.WriteFile(file, append([]byte(fileText(t)), "# theirs\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	_, err := ta.try(t, "pool", "remove", "more")
	if exitCode(t.Context(), err) != exitRefused || !strings.Contains(err.Error(), "domain web has volume more/v") || !strings.Contains(err.Error(), "write [pool.more] into it again") {
		t.Errorf("the removal ended with %v", err)
	}
	if text := fileText(t); strings.Contains(text, "[pool.more]") || !strings.HasSuffix(text, "# theirs\n") {
		t.Errorf("the file is\n%s", text)
	}
}

// recordAt makes a record of the pool that is removed at a step, once, after
// something else.
func recordAt(t *testing.T, when string, first func()) func(string) {
	done := false
	return func(step string) {
		if done || step != when {
			return
		}
		done = true
		if first != nil {
			first()
		}
		c := mustLoad(t)
		store, err := state.Open(t.Context(), c.StatePath(), "boot1")
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		for _, pool := range []string{"flash", "more"} {
			at := state.Attachment{DomainUUID: "u", DomainName: "web", Pool: pool, Volume: "v", Mode: "exclusive"}
			if _, _, err := store.Claim(t.Context(), at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func mustLoad(t *testing.T) *config.Config {
	t.Helper()
	c, err := config.Load(os.Getenv("VOLBRIDGE_CONFIG"), drivers.All)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Commands at the same time lose nothing: of one name one wins, with its secret.
func TestPoolAddsAtOnce(t *testing.T) {
	ta := newTestApp(t, "fast")
	var all sync.WaitGroup
	var mu sync.Mutex
	added := 0
	for n := range 12 {
		all.Go(func() {
			one := &app{in: strings.NewReader(fmt.Sprintf("token%d", n)), out: new(strings.Builder), err: new(strings.Builder), getenv: ta.getenv, drivers: drivers.All}
			name := fmt.Sprintf("p%d", n/2)
			err := one.run(t.Context(), []string{"volbridge", "pool", "add", name, fmt.Sprintf("https://array%d/api?transport=nvme-tcp", n), "--no-check", "--secret-file", "-"})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				added++
			} else if exitCode(t.Context(), err) != exitRefused {
				t.Error(err)
			}
		})
	}
	all.Wait()
	c := mustLoad(t)
	if added != 6 || len(c.Pools) != 7 {
		t.Errorf("%d were added, the file has %d", added, len(c.Pools))
	}
	text := fileText(t)
	for n := range 12 {
		secret, err := os.ReadFile(filepath.Join(filepath.Dir(c.Path), "secrets", fmt.Sprintf("p%d", n/2)))
		if err != nil {
			t.Fatal(err)
		}
		mine := string(secret) == fmt.Sprintf("token%d\n", n)
		if mine != strings.Contains(text, fmt.Sprintf("address = \"array%d\"\n", n)) {
			t.Errorf("the secret of p%d is %q in\n%s", n/2, secret, text)
		}
	}
}
