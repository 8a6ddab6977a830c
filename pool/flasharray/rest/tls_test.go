package rest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCertificates(t *testing.T) {
	a := newArray(t)
	// The system does not know the authority of a test.
	err := ask(t.Context(), a.client(func(o *Options) { o.CAFile = "" }))
	if kinds(err) != "unreachable" || !strings.Contains(err.Error(), "ca_file") || len(a.seen()) != 0 {
		t.Errorf("%v, calls %q", err, a.seen())
	}
	// The certificate is of 127.0.0.1 and example.com.
	elsewhere := a.options()
	elsewhere.URL, err = url.Parse(strings.Replace(a.URL, "127.0.0.1", "localhost", 1))
	must(t, err)
	c, err := New(elsewhere)
	must(t, err)
	defer c.Close()
	if err := ask(t.Context(), c); kinds(err) != "unreachable" || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("%v", err)
	}
	for range 2 {
		var logged bytes.Buffer
		c := a.client(func(o *Options) { o.CAFile, o.Insecure, o.Log = "", true, logTo(&logged) })
		must(t, ask(t.Context(), c))
		if strings.Count(logged.String(), "is not verified") != 1 {
			t.Errorf("log %s", logged.String())
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	a := newArray(t)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	must(t, os.WriteFile(empty, []byte("no certificate"), 0o644))
	for says, change := range map[string]func(*Options){
		"no address":        func(o *Options) { o.URL = nil },
		"must be https":     func(o *Options) { o.URL = &url.URL{Scheme: "http", Host: "a"} },
		"no credentials":    func(o *Options) { o.Credentials = nil },
		"no such file":      func(o *Options) { o.CAFile = filepath.Join(dir, "none.pem") },
		"no certificate in": func(o *Options) { o.CAFile = empty },
	} {
		o := a.options()
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// A server that speaks no TLS, and one that sends the session elsewhere.
func TestNotAnArray(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	a := newArray(t)
	o := a.options()
	var err error
	o.URL, err = url.Parse(strings.Replace(plain.URL, "http:", "https:", 1))
	must(t, err)
	c, err := New(o)
	must(t, err)
	defer c.Close()
	if err := ask(t.Context(), c); kinds(err) != "unreachable" || !strings.Contains(err.Error(), "management address") {
		t.Errorf("%v", err)
	}

	var visited atomic.Bool
	thief := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { visited.Store(true) }))
	defer thief.Close()
	a.respond = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	}
	if err := ask(t.Context(), a.client()); kinds(err) != "unreachable" || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("%v", err)
	}
	if visited.Load() {
		t.Error("the redirect was followed")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	a := newArray(t)
	from := map[string]bool{}
	a.respond = func(w http.ResponseWriter, r *http.Request) {
		a.set(func() { from[r.RemoteAddr] = true })
		io.WriteString(w, `{"items":[]}`)
	}
	c := a.client(func(o *Options) { o.MaxConnections = 3 })
	var calls sync.WaitGroup
	for range 60 {
		calls.Go(func() {
			if err := ask(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if len(from) == 0 || len(from) > 3 {
		t.Errorf("%d connections", len(from))
	}
}
