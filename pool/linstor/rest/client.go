// Package rest asks LINSTOR controllers with the vendor's client, and adds what
// that does not do: deadlines, a reply that is looked at before it counts as
// success, one place that says what a refusal means, and errors that carry the
// controller's own words and no secret.
//
// Of several controllers one answers. Another is tried where a connection could
// not be made, and for calls that change nothing also where the controller says
// that it cannot serve; a call that may have taken effect is never sent twice.
package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/LINBIT/golinstor/client"

	"github.com/volbridge/volbridge/internal/config"
)

// Options say where the controllers are, and who asks.
type Options struct {
	Controllers []*url.URL // http or https, with a port; at least one
	// Credentials are read before each call; nil: no login.
	Credentials func() (Credentials, error)
	// CAFile verifies the controllers instead of what the system trusts.
	CAFile string
	// CertFile and KeyFile are this host's own, where controllers ask for one.
	CertFile, KeyFile string
	// Insecure takes any certificate.
	Insecure bool
	// CallTimeout bounds each call.
	CallTimeout time.Duration
}

// Credentials are a token, or a user with a password.
type Credentials struct {
	User            string
	Password, Token config.Secret
}

// Client asks the controllers of one cluster. Several goroutines may use it.
type Client struct {
	api     *client.Client
	way     *way
	timeout time.Duration
}

// New makes a client. It asks nobody.
func New(o Options) (*Client, error) {
	transport, err := newTransport(o)
	if err != nil {
		return nil, err
	}
	return newClient(o, transport)
}

// Broken is a client of which every call fails because of why.
func Broken(o Options, why error) *Client {
	c, err := newClient(o, broken{why})
	if err != nil {
		panic(err) // only the transport can be wrong
	}
	return c
}

func newClient(o Options, transport http.RoundTripper) (*Client, error) {
	w := &way{controllers: o.Controllers, credentials: o.Credentials, transport: transport}
	// The vendor's client takes logins and controllers from the environment, and
	// writes each call with its login to stderr, unless it is told otherwise.
	api, err := client.NewClient(client.BaseURL(o.Controllers[0]), client.Log(nil),
		client.BasicAuth(&client.BasicAuthCfg{}), client.BearerToken(""), client.UserAgent("volbridge"),
		client.HTTPClient(&http.Client{Transport: w, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}))
	if err != nil {
		return nil, err
	}
	return &Client{api: api, way: w, timeout: o.CallTimeout}, nil
}

// Controller names who answered last, or who is asked first.
func (c *Client) Controller() string { return c.way.address(c.way.first()) }

// Observe has f called at the end of each attempt at a controller; status is 0
// where no reply came. It is set before the client is used.
func (c *Client) Observe(f func(status int, took time.Duration)) { c.way.observe = f }

// Close ends the connections that wait for more calls.
func (c *Client) Close() {
	if t, ok := c.way.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

type broken struct{ why error }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.why }

// dialTimeout: a controller that takes longer to accept a connection is down, or
// cut off; a guest whose disk is there already must not wait for it.
const dialTimeout = 5 * time.Second

func newTransport(o Options) (*http.Transport, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM form", o.CAFile)
		}
	}
	if o.CertFile != "" {
		own, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	timeout := min(dialTimeout, o.CallTimeout)
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        c,
		TLSHandshakeTimeout:    timeout,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// ask makes one call that changes nothing.
func ask[T any](ctx context.Context, c *Client, f func(context.Context, *client.Client) (T, error)) (T, error) {
	return call(ctx, c, &exchange{}, f)
}

// tell makes one call that changes something.
func tell(ctx context.Context, c *Client, f func(context.Context, *client.Client) error) error {
	_, err := call(ctx, c, &exchange{changes: true}, func(ctx context.Context, api *client.Client) (struct{}, error) {
		return struct{}{}, f(ctx, api)
	})
	return err
}

func call[T any](ctx context.Context, c *Client, x *exchange, f func(context.Context, *client.Client) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, exchangeKey{}, x), c.timeout)
	defer cancel()
	v, err := f(ctx, c.api)
	if err == nil {
		return v, nil
	}
	var zero T
	if x.failed != nil {
		return zero, x.failed
	}
	if x.sent {
		return zero, x.unreadable(err) // valid JSON, but not of this call
	}
	return zero, err
}
