package rest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// dialTimeout: a management address that takes longer to accept a connection is
// down, or cut off; a guest whose disk is there already must not wait for it.
const dialTimeout = 5 * time.Second

// newTransport allows so many connections, each with one call at a time: with
// HTTP/2 the number of connections would bound nothing.
func newTransport(o Options) (*http.Transport, error) {
	verify, err := tlsConfig(o)
	if err != nil {
		return nil, err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	timeout := min(dialTimeout, o.CallTimeout)
	dialer := &net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        verify,
		TLSHandshakeTimeout:    timeout,
		Protocols:              &protocols,
		MaxConnsPerHost:        o.MaxConnections,
		MaxIdleConnsPerHost:    o.MaxConnections,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// broken is a transport that cannot be made.
type broken struct{ why error }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.why }

func tlsConfig(o Options) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure}
	if o.CAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of ca_file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %s holds no certificate in PEM form", o.CAFile)
	}
	return c, nil
}
