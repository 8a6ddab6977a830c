package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/lockfile"
)

func shared(t *testing.T) (file string, option func(*Options)) {
	file = filepath.Join(t.TempDir(), "run", "session-1.json")
	return file, func(o *Options) { o.SessionFile = file }
}

func TestExpiredSession(t *testing.T) {
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
		a := newArray(t)
		c := a.client()
		_, err := c.Version(t.Context())
		must(t, err)
		a.expire()
		must(t, c.Do(t.Context(), Request{Method: method, Path: "/volumes"}, nil))
		call := method + " /api/2.26/volumes"
		want := []string{call, "GET /api/api_version", "POST /api/2.26/login", call}
		if got := a.seen()[2:]; !slices.Equal(got, want) {
			t.Errorf("calls %q", got)
		}
	}
}

func TestVersions(t *testing.T) {
	for versions, want := range map[string]string{
		`["2.0","2.1","2.9"]`: "2.9", `["2.9","2.10"]`: "2.10", `["2.56","2.57","3.1"]`: "2.56", `["2.30","2.DEV","2.s-x",""]`: "2.30",
		`["1.19","2.0","2.8"]`: "", `["2.99"]`: "", `[]`: "", `["-2.5","2.-5","2","2.5.1"]`: "",
	} {
		a := newArray(t)
		a.versions = versions
		v, err := a.client().Version(t.Context())
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "upgrade") || kinds(err) != "" {
				t.Errorf("%s: %s, %v", versions, v, err)
			}
			continue
		}
		if err != nil || v.String() != want {
			t.Errorf("%s: %s, %v; want %s", versions, v, err, want)
		}
	}
	if v := (Version{2, 10}); !v.AtLeast(2, 9) || v.AtLeast(2, 27) || v.AtLeast(3, 0) {
		t.Error("versions are not ordered as numbers")
	}
}

func TestPassword(t *testing.T) {
	a := newArray(t)
	c := a.client(func(o *Options) { o.Credentials = byPassword("pureuser", testPassword) })
	must(t, ask(t.Context(), c))
	want := []string{"GET /api/api_version", "POST /api/1.19/auth/apitoken", "POST /api/2.26/login", "GET /api/2.26/volumes"}
	if got := a.seen(); !slices.Equal(got, want) {
		t.Errorf("calls %q", got)
	}
	c = a.client(func(o *Options) { o.Credentials = byPassword("pureuser", "wrong") })
	if err := ask(t.Context(), c); kinds(err) != "unauthorized" || !strings.Contains(err.Error(), "invalid credentials") {
		t.Errorf("%v", err)
	}
	a.versions = `["2.9"]`
	c = a.client(func(o *Options) { o.Credentials = byPassword("pureuser", testPassword) })
	if err := ask(t.Context(), c); err == nil || !strings.Contains(err.Error(), "make an API token") {
		t.Errorf("%v", err)
	}
}

func TestNoCredentials(t *testing.T) {
	a := newArray(t)
	broken := errors.New("no such file")
	for _, f := range []func() (Credentials, error){
		func() (Credentials, error) { return Credentials{}, broken },
		func() (Credentials, error) { return Credentials{User: "u"}, nil },
	} {
		c := a.client(func(o *Options) { o.Credentials = f })
		if err := ask(t.Context(), c); err == nil || kinds(err) != "" || len(a.seen()) != 0 {
			t.Errorf("%v, calls %q", err, a.seen())
		}
	}
}

func TestManyCallsOneLogin(t *testing.T) {
	a := newArray(t)
	c := a.client()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := ask(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a.logins != 1 {
		t.Errorf("%d logins", a.logins)
	}
}

// A wrong token is tried once by all that wait for its login, not by each.
func TestManyClientsOneRefusal(t *testing.T) {
	const many = 40
	a := newArray(t)
	_, option := shared(t)
	var waiting sync.WaitGroup
	waiting.Add(many)
	a.interfere = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 1 {
			waiting.Wait()
		}
		return false
	}
	var wg sync.WaitGroup
	for range many {
		c := a.client(option, func(o *Options) {
			o.Credentials = func() (Credentials, error) {
				waiting.Done()
				return byToken("wrong")()
			}
		})
		wg.Go(func() {
			err := ask(t.Context(), c)
			if kinds(err) != "unauthorized" || !strings.Contains(err.Error(), "status 401 Unauthorized: Invalid API token [secret]; check") {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if calls := a.seen(); len(calls) != 2 {
		t.Errorf("calls %q", calls)
	}
	// Later it is tried anew.
	if err := ask(t.Context(), a.client(option, func(o *Options) { o.Credentials = byToken("wrong") })); kinds(err) != "unauthorized" || len(a.seen()) != 4 {
		t.Errorf("%v, calls %q", err, a.seen())
	}
}

// The same for the goroutines of one process that shares nothing.
func TestManyCallsOneRefusal(t *testing.T) {
	a := newArray(t)
	c := a.client(func(o *Options) { o.Credentials = byToken("wrong") })
	begun := time.Now()
	if _, _, err := c.session(t.Context(), ""); kinds(err) != "unauthorized" {
		t.Error(err)
	}
	if err := c.failedSince(begun); kinds(err) != "unauthorized" {
		t.Errorf("who waited since then is told %v", err)
	}
	if err := c.failedSince(time.Now()); err != nil {
		t.Errorf("who comes later is told %v", err)
	}
}

func TestSharedSession(t *testing.T) {
	a := newArray(t)
	file, option := shared(t)
	first, second := a.client(option), a.client(option)
	must(t, ask(t.Context(), first))
	must(t, ask(t.Context(), second))
	if a.logins != 1 {
		t.Errorf("%d logins", a.logins)
	}
	info, err := os.Stat(file)
	must(t, err)
	dir, err := os.Stat(filepath.Dir(file))
	must(t, err)
	if info.Mode() != 0o600 || dir.Mode().Perm() != 0o700 {
		t.Errorf("modes %v, %v", info.Mode(), dir.Mode())
	}
	data, err := os.ReadFile(file)
	must(t, err)
	if bytes.Contains(data, []byte(testToken)) {
		t.Error("the API token is in the file")
	}

	// One renews it, the other finds it in the file.
	a.expire()
	must(t, ask(t.Context(), first))
	before := len(a.seen())
	must(t, ask(t.Context(), second))
	if got := a.seen()[before:]; a.logins != 2 || len(got) != 2 {
		t.Errorf("%d logins, calls %q", a.logins, got)
	}

	// What is in the file has expired too.
	must(t, ask(t.Context(), a.client(option)))
	a.expire()
	must(t, ask(t.Context(), a.client(option)))
	if a.logins != 3 {
		t.Errorf("%d logins", a.logins)
	}

	// Another token is another session.
	err = ask(t.Context(), a.client(option, func(o *Options) { o.Credentials = byToken("other") }))
	if kinds(err) != "unauthorized" {
		t.Errorf("a wrong token used the session of the right one: %v", err)
	}
}

// A token that was refused does not stay in the file when there is no new one.
func TestStaleTokenIsNotKept(t *testing.T) {
	for name, interfere := range map[string]func(w http.ResponseWriter){
		"refused": func(w http.ResponseWriter) { refuse(w, 401, "", "no") },
		"silent":  cut,
	} {
		a := newArray(t)
		file, option := shared(t)
		must(t, ask(t.Context(), a.client(option)))
		a.expire()
		a.set(func() {
			a.interfere = func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/login") {
					interfere(w)
				}
				return strings.HasSuffix(r.URL.Path, "/login")
			}
		})
		if err := ask(t.Context(), a.client(option)); err == nil {
			t.Errorf("%s: it succeeded", name)
		}
		data, err := os.ReadFile(file)
		must(t, err)
		if strings.Contains(string(data), sessionMark) {
			t.Errorf("%s: the file holds %s", name, data)
		}
		a.set(func() { a.interfere = nil })
		must(t, ask(t.Context(), a.client(option)))
	}
}

// Whatever is at the place of the file, it costs a login and no more.
func TestDamagedSessionFile(t *testing.T) {
	good := func(t *testing.T, a *array, option func(*Options), file string) []byte {
		must(t, ask(t.Context(), a.client(option)))
		data, err := os.ReadFile(file)
		must(t, err)
		return data
	}
	for name, damage := range map[string]func(t *testing.T, file string, data []byte){
		"empty":       func(t *testing.T, file string, data []byte) { must(t, os.WriteFile(file, nil, 0o600)) },
		"half":        func(t *testing.T, file string, data []byte) { must(t, os.WriteFile(file, data[:len(data)/2], 0o600)) },
		"nonsense":    func(t *testing.T, file string, data []byte) { must(t, os.WriteFile(file, []byte("\x00<html>"), 0o600)) },
		"huge":        func(t *testing.T, file string, data []byte) { must(t, os.Truncate(file, maxPrivateBytes+1)) },
		"others read": func(t *testing.T, file string, data []byte) { must(t, os.Chmod(file, 0o644)) },
		"gone":        func(t *testing.T, file string, data []byte) { must(t, os.Remove(file)) },
		"another format": func(t *testing.T, file string, data []byte) {
			must(t, os.WriteFile(file, bytes.Replace(data, []byte(`"format":1`), []byte(`"format":2`), 1), 0o600))
		},
		"another version": func(t *testing.T, file string, data []byte) {
			must(t, os.WriteFile(file, bytes.Replace(data, []byte(`"minor":26`), []byte(`"minor":1`), 1), 0o600))
		},
		"a link": func(t *testing.T, file string, data []byte) {
			must(t, os.Rename(file, file+".real"))
			must(t, os.Symlink(file+".real", file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArray(t)
			file, option := shared(t)
			damage(t, file, good(t, a, option, file))
			must(t, ask(t.Context(), a.client(option)))
			must(t, ask(t.Context(), a.client(option)))
			if a.logins != 2 {
				t.Errorf("%d logins", a.logins)
			}
			var r sessionRecord
			data, err := os.ReadFile(file)
			must(t, err)
			if info, err := os.Lstat(file); err != nil || info.Mode() != 0o600 || json.Unmarshal(data, &r) != nil || r.Token == "" {
				t.Errorf("afterwards %v, %v: %s", info.Mode(), err, data)
			}
		})
	}
}

// A folder that others can write gets no token, and one that cannot be made is
// no reason to fail.
func TestNoPlaceForTheSession(t *testing.T) {
	a := newArray(t)
	open := filepath.Join(t.TempDir(), "open")
	must(t, os.Mkdir(open, 0o700))
	must(t, os.Chmod(open, 0o777))
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{open, file, "/proc/none"} {
		var logged bytes.Buffer
		c := a.client(func(o *Options) { o.SessionFile, o.Log = filepath.Join(dir, "session.json"), logTo(&logged) })
		must(t, ask(t.Context(), c))
		if !strings.Contains(logged.String(), "logs in on its own") {
			t.Errorf("%s: %s", dir, logged.String())
		}
	}
	if left, err := os.ReadDir(open); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A process that was stopped while it logged in does not stop the others.
func TestStuckLogin(t *testing.T) {
	a := newArray(t)
	file, option := shared(t)
	release, err := lockfile.Acquire(t.Context(), file+".lock")
	must(t, err)
	c := a.client(option, func(o *Options) { o.CallTimeout = time.Second })
	must(t, ask(t.Context(), c))

	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err = ask(ctx, a.client(option))
	if kinds(err) != "unreachable" || !strings.Contains(err.Error(), "another process is logging in") {
		t.Errorf("%v", err)
	}
	must(t, release())
}
