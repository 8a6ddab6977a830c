package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/volbridge/volbridge/lab/arrays"
)

// proxy stands between a machine and the array, and notes when the array has
// answered that a volume is connected.
type proxy struct {
	spec
	array *url.URL
	to    *http.Transport
	token string // of the bench's own session

	mu sync.Mutex
	at time.Duration
}

func startProxy(s spec) (*proxy, error) {
	ca, err := os.ReadFile(s.ArrayCA)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca)
	p := &proxy{
		spec: s, array: &url.URL{Scheme: "https", Host: s.Array},
		to: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}},
	}
	cert, own, err := arrays.Certificate("127.0.0.1")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.ProxyCA, own, 0o644); err != nil {
		return nil, err
	}
	l, err := tls.Listen("tcp", proxyAddress, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, err
	}
	relay := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(p.array) },
		Transport:      p.to,
		ModifyResponse: p.note,
	}
	go func() { fmt.Fprintln(os.Stderr, "proxy:", http.Serve(l, relay)) }()
	return p, nil
}

func (p *proxy) note(r *http.Response) error {
	if r.Request.Method == http.MethodPost && strings.HasSuffix(r.Request.URL.Path, "/connections") && r.StatusCode == http.StatusOK {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.at = now()
	}
	return nil
}

// acknowledged is when the last connection was.
func (p *proxy) acknowledged() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// connect connects the volume, without volbridge, and returns when the reply
// was there.
func (p *proxy) connect(ctx context.Context) (time.Duration, error) {
	if p.token == "" {
		r, err := p.post(ctx, "/login", http.Header{"Api-Token": {p.Token}})
		if err != nil {
			return 0, err
		}
		p.token = r.Header.Get("X-Auth-Token")
	}
	query := url.Values{"host_names": {p.Host}, "volume_names": {p.Volume}}.Encode()
	r, err := p.post(ctx, "/connections?"+query, http.Header{"X-Auth-Token": {p.token}})
	if err != nil {
		return 0, err
	}
	err = p.note(r)
	return p.acknowledged(), err
}

// post returns once the reply's header is there.
func (p *proxy) post(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.array.String()+"/api/2.36"+path, bytes.NewReader([]byte("{}")))
	if err != nil {
		return nil, err
	}
	r.Header = header
	r.Header.Set("Content-Type", "application/json")
	reply, err := p.to.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("POST %s: %s", path, reply.Status)
	}
	return reply, errors.Join(err, reply.Body.Close())
}
