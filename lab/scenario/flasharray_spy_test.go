package scenario

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/arrays"
	"github.com/volbridge/volbridge/lab/nvmesim/target"
)

// spy stands between the hosts and an array's management. At each call it looks
// at the arguments and the environment of every process of the machine, and it
// can answer in the array's place with all the secrets that it was sent.
type spy struct {
	*arrayCluster
	address, caFile string
	secrets         []string        // that may be seen nowhere, in all their forms
	may             map[string]bool // but in these files of a host

	mu       sync.Mutex
	how      spoil
	login    []string // the configured secrets
	sessions []string // that may be seen in the session file only
	seen     []string // in processes
	calls    int
	journal  bytes.Buffer
}

// spoil is how calls are answered wrongly.
type spoil struct {
	answer string // a key of spoiled, "" for none
	logins bool   // those of a login, else all others
}

// spoiled are the wrong answers; echo is every secret that the array knows of.
var spoiled = map[string]func(w http.ResponseWriter, echo string){
	"400": refusing(http.StatusBadRequest),
	"401": refusing(http.StatusUnauthorized),
	"403": refusing(http.StatusForbidden),
	"500": refusing(http.StatusInternalServerError),
	"old 400": func(w http.ResponseWriter, echo string) { // of REST 1.x
		w.WriteHeader(http.StatusBadRequest)
		answerJSON(w, []map[string]string{{"ctx": echo, "msg": echo}})
	},
	"page": func(w http.ResponseWriter, echo string) { fmt.Fprintf(w, "<html>%s</html>", echo) },
	"other JSON": func(w http.ResponseWriter, echo string) {
		answerJSON(w, map[string]string{"items": echo, "version": echo, "api_token": ""})
	},
	"redirect": func(w http.ResponseWriter, echo string) {
		w.Header().Set("Location", "https://%zz/"+echo)
		w.WriteHeader(http.StatusMovedPermanently)
	},
	"no HTTP": func(w http.ResponseWriter, echo string) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err) // HTTP/1.1 can
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s\r\n\r\n", echo)
	},
}

func refusing(status int) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, echo string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		answerJSON(w, map[string]any{"errors": []map[string]string{{"context": echo, "message": "You sent " + echo}}})
	}
}

func answerJSON(w io.Writer, body any) {
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(http.ErrAbortHandler) // the caller is gone
	}
}

const spyAddress = "10.77.0.4"

// newSpy listens beside pool flash's array, and plays the journal of the hosts.
func newSpy(c *arrayCluster, secrets ...string) *spy {
	c.Helper()
	s := &spy{arrayCluster: c, address: spyAddress, caFile: "/etc/volbridge/spy-ca.pem", may: map[string]bool{configFile: true}}
	for _, secret := range secrets {
		s.secrets = append(s.secrets, forms(secret)...)
	}
	out, err := c.lab.Command(c.ctx, "ip", "address", "replace", s.address+"/24", "dev", "br0").CombinedOutput()
	if err != nil {
		c.Fatalf("%v: %s", err, out)
	}
	cert, ca, err := arrays.Certificate(s.address)
	c.must(err)
	for _, h := range c.lab.Hosts() {
		c.must(h.WriteFile(s.caFile, ca, 0o644))
	}
	l, err := target.ListenIn(c.ctx, c.lab.PID(), s.address+":443")
	c.must(err)
	server := &http.Server{Handler: s}
	secure := tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12})
	served := make(chan error, 1)
	go func() { served <- server.Serve(secure) }()
	c.Cleanup(func() {
		if err := errors.Join(server.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
			c.Error(err)
		}
	})
	for _, h := range c.lab.Hosts() {
		s.playJournal(h)
	}
	return s
}

// forms are a secret, what it is in a URL, and what is in each text that holds it
// in base64, wherever it begins there.
func forms(secret string) []string {
	list := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := e.EncodeToString(append(make([]byte, before), secret...))
			// A character at either end may also depend on the neighbour.
			list = append(list, text[(8*before+5)/6:8*(before+len(secret))/6])
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// playJournal takes what the hook logs.
func (s *spy) playJournal(h *lab.Host) {
	s.Helper()
	path := h.Path("/run/systemd/journal/socket")
	s.must(os.MkdirAll(filepath.Dir(path), 0o755))
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	s.must(err)
	read := make(chan struct{})
	go func() {
		defer close(read)
		message := make([]byte, 1<<20)
		for {
			n, err := conn.Read(message)
			if err != nil {
				return // closed
			}
			s.mu.Lock()
			s.journal.Write(message[:n])
			s.mu.Unlock()
		}
	}()
	s.Cleanup(func() { conn.Close(); <-read })
}

func (s *spy) answers(how spoil) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how = how
}

func (s *spy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	s.calls++
	s.watch(r.Method + " " + r.URL.Path)
	how := s.how
	s.mu.Unlock()
	login := strings.HasSuffix(r.URL.Path, "/login") || strings.HasSuffix(r.URL.Path, "/auth/apitoken") || r.URL.Path == "/api/api_version"
	if wrongly := spoiled[how.answer]; wrongly != nil && login == how.logins {
		wrongly(w, s.echo(r, body))
		return
	}
	s.flash.ServeHTTP(w, r)
	if session := w.Header().Get("X-Auth-Token"); session != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sessions = append(s.sessions, session)
	}
}

// echo is what was sent, and the secrets of the configured login.
func (s *spy) echo(r *http.Request, body []byte) string {
	s.mu.Lock()
	words := append([]string{string(body)}, s.login...)
	s.mu.Unlock()
	for _, name := range []string{"Api-Token", "X-Auth-Token"} {
		words = append(words, r.Header.Get(name))
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " and ")
}

// watch looks at the processes; one that ends meanwhile is not there any more.
func (s *spy) watch(when string) {
	for _, kind := range []string{"cmdline", "environ"} {
		files, err := filepath.Glob("/proc/[0-9]*/" + kind)
		if err != nil {
			panic(err) // the pattern is right
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			if secret := found(data, append(s.sessions, s.secrets...)); secret != "" {
				s.seen = append(s.seen, fmt.Sprintf("%s at %s: %s", file, when, secret))
			}
		}
	}
}

// found is the first of the secrets that the data has.
func found(data []byte, secrets []string) string {
	for _, secret := range secrets {
		if bytes.Contains(data, []byte(secret)) {
			return secret
		}
	}
	return ""
}

// leaks are all places, other than those where it may be, where a secret is: in
// files of the hosts, in definitions, in the journal, in processes and in texts.
func (s *spy) leaks(texts map[string]string) (list []string) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append(slices.Clone(s.sessions), s.secrets...)
	list = append(list, s.seen...)
	for name, text := range texts {
		if secret := found([]byte(text), all); secret != "" {
			list = append(list, fmt.Sprintf("%s: %s: %s", name, secret, text))
		}
	}
	if secret := found(s.journal.Bytes(), all); secret != "" {
		list = append(list, "journal: "+secret)
	}
	for _, h := range s.lab.Hosts() {
		for _, dir := range []string{"/run", "/var/log", "/var/lib/volbridge", "/var/lib/libvirt", "/etc/libvirt", "/etc/volbridge",
			"/etc/credstore", "/etc/credstore.encrypted", "/var/lib/systemd", s.lab.SharedDir()} {
			list = append(list, s.leaksIn(h, dir, all)...)
		}
	}
	return list
}

// leaksIn looks at the files below a folder of a host. The session's file may
// hold the session, if it is root's alone.
func (s *spy) leaksIn(h *lab.Host, dir string, all []string) (list []string) {
	root := h.Path("")
	err := filepath.WalkDir(root+dir, func(path string, e fs.DirEntry, err error) error {
		inside := strings.TrimPrefix(path, root)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !e.Type().IsRegular(), s.may[inside]:
			return nil
		case err != nil:
			return err
		}
		info, err := e.Info()
		if err != nil || info.Size() > 64*mib { // an image
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil // gone meanwhile
		}
		secrets := all
		if own, err := filepath.Match("/run/volbridge/session-*.json", inside); err == nil && own && info.Mode() == 0o600 {
			secrets = s.secrets
		}
		if secret := found(data, secrets); secret != "" {
			list = append(list, h.Name()+": "+inside+": "+secret)
		}
		return nil
	})
	s.must(err)
	return list
}

// The search finds what is planted, wherever that is.
func TestLeaksAreFound(t *testing.T) {
	c := upWithArrays(t, arrayOptions{})
	token := newUUID()
	s := newSpy(c, token)
	if leaks := s.leaks(nil); len(leaks) > 0 {
		t.Fatalf("before anything was planted: %v", leaks)
	}
	for _, path := range []string{"/run/volbridge/session-0.json", "/var/log/libvirt/qemu/web1.log", "/var/lib/volbridge/state.db", "/etc/libvirt/qemu/web1.xml"} {
		c.must(c.a.WriteFile(path, []byte("\x00"+token+"\x00"), 0o600))
		c.wants(strings.Join(s.leaks(nil), "\n"), "kvm01: "+path+": "+token)
		c.on(c.a, "rm", path)
	}
	for name, text := range map[string]string{
		"base64":                base64.StdEncoding.EncodeToString([]byte(token)),
		"base64 of a user, too": base64.StdEncoding.EncodeToString([]byte("user:" + token + "\n")),
		"base64 of more":        base64.URLEncoding.EncodeToString([]byte("a user:" + token + "…")),
	} {
		c.must(c.b.WriteFile("/run/planted", []byte("x"+text+"x"), 0o600))
		if leaks := s.leaks(nil); len(leaks) != 1 || !strings.HasPrefix(leaks[0], "kvm02: /run/planted: ") {
			t.Errorf("%s: found %v", name, leaks)
		}
	}
	c.on(c.b, "rm", "/run/planted")
	c.wants(strings.Join(s.leaks(map[string]string{"stdout": "a" + token}), "\n"), "stdout: "+token)
	s.sessions = []string{newUUID()}
	c.must(c.a.WriteFile("/run/volbridge/session-0.json", []byte(s.sessions[0]), 0o600))
	if leaks := s.leaks(nil); len(leaks) > 0 {
		t.Errorf("the session in its file: %v", leaks)
	}
	c.must(c.a.WriteFile("/run/volbridge/session-0.json", []byte(s.sessions[0]), 0o640))
	c.wants(strings.Join(s.leaks(nil), "\n"), "session-0.json")
	s.plantProcess(token, "")
	s.plantProcess("", token)
	journal, err := net.Dial("unixgram", c.a.Path("/run/systemd/journal/socket"))
	c.must(err)
	defer journal.Close()
	_, err = journal.Write([]byte("MESSAGE=" + token))
	c.must(err)
	for !strings.Contains(strings.Join(s.leaks(nil), "\n"), "journal: ") {
		c.must(c.ctx.Err())
	}
}

// plantProcess runs a program with a secret as an argument or in its
// environment, and fails if a call does not show it.
func (s *spy) plantProcess(argument, variable string) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	cmd := s.a.Command(ctx, "sh", "-c", "echo ready; read line", "sh", argument)
	cmd.Env = append(os.Environ(), "PLANTED="+variable)
	in, err := cmd.StdinPipe()
	s.must(err)
	out, err := cmd.StdoutPipe()
	s.must(err)
	s.must(cmd.Start())
	_, err = out.Read(make([]byte, 8))
	s.must(err)
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(s.ctx, http.MethodGet, "/api/api_version", nil))
	s.mu.Lock()
	if len(s.seen) == 0 {
		s.Errorf("a secret as argument %q, in the environment %q was not seen", argument, variable)
	}
	s.seen = nil
	s.mu.Unlock()
	s.must(in.Close())
	_ = cmd.Wait() // sh's read fails at the end of its input
}
