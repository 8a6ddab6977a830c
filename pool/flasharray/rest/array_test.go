package rest

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/volbridge/volbridge/internal/config"
)

// The secrets of the tests; no message, log line or file that others can read
// may show one.
const (
	testToken    = "6a2b4c1e-4d3f-48a7-9c1d-0c5f00ba4e11"
	testPassword = "sword fish&+1"
	sessionMark  = "session-of-the-array-"
)

// array is the server of a test: it lets clients log in, and answers the other
// calls as the test says.
type array struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	calls    []string
	logins   int
	valid    []string // sessions
	versions string
	user     string
	respond  func(w http.ResponseWriter, r *http.Request)
	// interfere may answer any call, the n-th of all, instead.
	interfere func(n int, w http.ResponseWriter, r *http.Request) bool
}

func newArray(t *testing.T) *array {
	t.Helper()
	a := &array{t: t, versions: `["1.0","1.19","2.2","2.26","2.99","2.DEV"]`, user: "pureuser"}
	a.respond = func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"items":[]}`) }
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))

	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func (a *array) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.calls = append(a.calls, r.Method+" "+r.URL.Path)
	n, interfere, respond := len(a.calls), a.interfere, a.respond
	a.mu.Unlock()
	if interfere != nil && interfere(n, w, r) {
		return
	}
	switch {
	case r.URL.Path == "/api/api_version":
		fmt.Fprintf(w, `{"version":%s}`, a.versions)
	case strings.HasSuffix(r.URL.Path, "/auth/apitoken"):
		a.password(w, r)
	case strings.HasSuffix(r.URL.Path, "/login"):
		a.login(w, r)
	case !a.knows(r.Header.Get("X-Auth-Token")):
		refuse(w, 401, "", "Unauthorized: session "+r.Header.Get("X-Auth-Token"))
	default:
		respond(w, r)
	}
}

func (a *array) password(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("username") != a.user || r.PostFormValue("password") != testPassword {
		w.WriteHeader(400)
		fmt.Fprintf(w, `[{"ctx":%q,"msg":%q}]`, r.PostFormValue("username"), "invalid credentials "+r.PostFormValue("password"))
		return
	}
	fmt.Fprintf(w, `{"api_token":%q}`, testToken)
}

func (a *array) login(w http.ResponseWriter, r *http.Request) {
	if got := r.Header.Get("api-token"); got != testToken {
		refuse(w, 401, "", "Invalid API token "+got)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logins++
	token := fmt.Sprintf("%s%d", sessionMark, a.logins)
	a.valid = append(a.valid, token)
	w.Header().Set("x-auth-token", token)
	io.WriteString(w, `{"items":[{"username":"pureuser"}]}`)
}

func (a *array) knows(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.valid, token)
}

// expire ends all sessions.
func (a *array) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.valid = nil
}

func (a *array) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

func (a *array) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func refuse(w http.ResponseWriter, status int, about, words string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"context":%q,"message":%q}]}`, about, words)
}

// cut ends the connection without a reply.
func cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

func (a *array) caFile() string {
	file := filepath.Join(a.t.TempDir(), "ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	must(a.t, os.WriteFile(file, data, 0o644))
	return file
}

func (a *array) options() Options {
	u, err := url.Parse(a.URL)
	must(a.t, err)
	return Options{URL: u, Credentials: byToken(testToken), CAFile: a.caFile(), CallTimeout: 10 * time.Second, Log: silent()}
}

func (a *array) client(change ...func(*Options)) *Client {
	a.t.Helper()
	o := a.options()
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	must(a.t, err)
	c.pause = 2 * time.Millisecond
	a.t.Cleanup(c.Close)
	return c
}

func byToken(token string) func() (Credentials, error) {
	return func() (Credentials, error) { return Credentials{APIToken: config.NewSecret(token)}, nil }
}

func byPassword(user, password string) func() (Credentials, error) {
	return func() (Credentials, error) {
		return Credentials{User: user, Password: config.NewSecret(password)}, nil
	}
}

func silent() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// logTo collects everything that is logged.
func logTo(b *bytes.Buffer) *logrus.Entry {
	l := logrus.New()
	l.SetOutput(&lockedWriter{w: b})
	l.SetLevel(logrus.TraceLevel)
	return logrus.NewEntry(l)
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(path string) Request  { return Request{Method: "GET", Path: path} }
func post(path string) Request { return Request{Method: "POST", Path: path} }

// ask is a call that reads.
func ask(ctx context.Context, c *Client) error {
	_, err := List[struct{}](ctx, c, get("/volumes"))
	return err
}

func TestMain(m *testing.M) {
	if runHelper() {
		return
	}
	goleak.VerifyTestMain(m)
}
