package linstor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/units"
	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

// deaf is the address of a controller that is not there.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	return "http://" + l.Addr().String()
}

// Of several controllers one answers, wherever it stands in the list; one that
// has been taken over from is no answer.
func TestSeveralControllers(t *testing.T) {
	passive := httptest.NewServer(func() *lab.Controller { c := lab.New(lab.Options{}); c.SetPassive(true); return c }())
	defer passive.Close()
	for what, others := range map[string][]string{"deaf": {deaf(t), deaf(t)}, "passive": {passive.URL}, "both": {deaf(t), passive.URL}} {
		for _, first := range []bool{true, false} {
			r := newRig(t, lab.Options{})
			own := r.settings.Controllers
			r.settings.Controllers = append(append([]string{}, others...), own...)
			if first {
				r.settings.Controllers = append(append([]string{}, own...), others...)
			}
			b := r.open(t)
			create(t, b, "vm1")
			grant(t, b, "vm1", kvm01, pool.Exclusive)
			revoke(t, b, "vm1", kvm01)
			must(t, b.Delete(t.Context(), "vm1", "mine"))
			if got := b.linstor.Controller(); got != own[0] {
				t.Errorf("%s, first %v: answered by %s", what, first, got)
			}
		}
	}
}

// A change that was sent is never sent to another controller; one that was not
// is known not to have happened.
func TestChangeIsSentOnce(t *testing.T) {
	r, other := newRig(t, lab.Options{}), newRig(t, lab.Options{})
	r.settings.Controllers = append(r.settings.Controllers, other.settings.Controllers...)
	b := r.open(t)
	r.FailAt(2, lab.Fault{Kind: lab.LostBefore})
	_, err := b.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "mine"})
	if !errors.Is(err, pool.ErrMaybeDone) {
		t.Errorf("%v", err)
	}
	if calls := other.Calls(); len(calls) > 0 {
		t.Errorf("the other controller was told %v", calls)
	}
	r.settings.Controllers = []string{deaf(t), deaf(t)}
	b = r.open(t)
	err = b.Delete(t.Context(), "vm1", "mine")
	if !errors.Is(err, pool.ErrUnreachable) || errors.Is(err, pool.ErrMaybeDone) {
		t.Errorf("no controller: %v", err)
	}
	wantError(t, "no controller", err, r.settings.Controllers[0], r.settings.Controllers[1], "connection refused")
}

// A controller that does not answer is given up in time.
func TestSlowController(t *testing.T) {
	r := newRig(t, lab.Options{})
	r.settings.CallTimeout = units.Duration(50 * time.Millisecond)
	b := r.open(t)
	r.FailAt(1, lab.Fault{Kind: lab.Slow, Delay: time.Hour})
	if _, err := b.Lookup(t.Context(), "vm1"); !errors.Is(err, pool.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// The logins work over TLS with an own authority, and no secret is ever shown:
// not in errors, not in the log, not on stderr, where the vendor's client would
// write it.
func TestSecretsStaySecret(t *testing.T) {
	const secret = "s3cr3t/with+odd&<chars>"
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	must(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	for what, set := range map[string]func(*Settings){
		"password":      func(s *Settings) { s.User, s.Password = "u", config.NewSecret(secret) },
		"password file": func(s *Settings) { s.User, s.PasswordFile = "u", file },
		"token":         func(s *Settings) { s.Token = config.NewSecret(secret) },
		"token file":    func(s *Settings) { s.TokenFile = file },
	} {
		o := lab.Options{User: "u", Password: secret}
		if strings.HasPrefix(what, "token") {
			o = lab.Options{Token: secret}
		}
		r := newRig(t, o)
		server := httptest.NewTLSServer(r.Controller)
		defer server.Close()
		r.settings.Controllers = []string{server.URL}
		r.settings.CAFile = filepath.Join(dir, "ca.pem")
		must(t, os.WriteFile(r.settings.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
		set(r.settings)
		said := captured(t, func() string {
			var text strings.Builder
			logger := logrus.New()
			logger.SetOutput(&text)
			logger.SetLevel(logrus.TraceLevel)
			b, err := open("drbd", r.settings, logrus.NewEntry(logger))
			must(t, err)
			defer b.linstor.Close()
			create(t, b, "vm1")
			for _, kind := range lab.FaultKinds() {
				r.FailAt(1, lab.Fault{Kind: kind})
				if _, err := b.Lookup(t.Context(), "vm1"); err != nil {
					text.WriteString(err.Error())
				}
			}
			wrong := *r.settings
			wrong.User, wrong.Password, wrong.PasswordFile, wrong.TokenFile, wrong.Token = "", config.Secret{}, "", "", config.NewSecret("wr0ng")
			bad, err := open("drbd", &wrong, logrus.NewEntry(logger))
			must(t, err)
			defer bad.linstor.Close()
			_, err = bad.Lookup(t.Context(), "vm1")
			if !errors.Is(err, rest.ErrUnauthorized) || errors.Is(err, pool.ErrNotFound) {
				t.Errorf("%s: a wrong login: %v", what, err)
			}
			return text.String() + err.Error()
		})
		for _, s := range []string{secret, "s3cr3t", "wr0ng", "Authorization", "curl"} {
			if strings.Contains(said, s) {
				t.Errorf("%s: %q was shown: %s", what, s, said)
			}
		}
	}
}

// captured is what f returns, and what it wrote to stderr and stdout.
func captured(t *testing.T, f func() string) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	must(t, err)
	defer file.Close()
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = file, file
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	text := f()
	written, err := os.ReadFile(file.Name())
	must(t, err)
	return text + string(written)
}

// A secret that others can read is refused, and nothing is sent.
func TestSecretFileOfOthers(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	must(t, os.WriteFile(open, []byte("x\n"), 0o644))
	r := newRig(t, lab.Options{})
	r.settings.Controllers = []string{"https://" + strings.TrimPrefix(r.settings.Controllers[0], "http://")}
	r.settings.TokenFile = open
	_, err := r.open(t).Lookup(t.Context(), "vm1")
	wantError(t, "look-up", err, "token_file", "chmod 600")
	if calls := r.Calls(); len(calls) > 0 || !errors.Is(err, pool.ErrUnreachable) {
		t.Errorf("%v; calls %v", err, calls)
	}
}

// This host shows its own certificate where a controller asks for one.
func TestOwnCertificate(t *testing.T) {
	r := newRig(t, lab.Options{})
	server := httptest.NewUnstartedServer(r.Controller)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	r.settings.Controllers, r.settings.TLSVerify = []string{server.URL}, false
	_, err := r.open(t).Lookup(t.Context(), "vm1")
	if !errors.Is(err, pool.ErrUnreachable) || errors.Is(err, pool.ErrNotFound) {
		t.Errorf("without one: %v", err)
	}
	r.settings.CertFile, r.settings.KeyFile = ownCertificate(t)
	if _, err := r.open(t).Lookup(t.Context(), "vm1"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("with one: %v", err)
	}
	// A pool that cannot be opened claims its paths, and says why it is no use.
	r.settings.KeyFile += ".gone"
	_, err = r.open(t).LookupPath(t.Context(), "/dev/drbd/by-res/vb-vm1/0")
	wantError(t, "no key", err, "key_file", "no such file")
	if !errors.Is(err, pool.ErrUnreachable) || errors.Is(err, pool.ErrNotFound) {
		t.Errorf("no key: %v", err)
	}
}

func ownCertificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return certFile, keyFile
}
