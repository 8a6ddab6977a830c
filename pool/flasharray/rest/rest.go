// Package rest speaks the REST 2.x protocol of a FlashArray's management: one
// small client for all versions, because what volbridge needs of them is the
// same.
//
// # Who repeats what
//
// A call that only reads, or that its caller calls idempotent, is repeated a
// few times when the array cannot be reached, is busy (429, 5xx) or answers
// nonsense. No other call is: where its reply was lost the error is
// ErrMaybeDone, and the caller looks at what is there. A 401 did nothing, so
// after it the client logs in anew, once, and sends any call again. A call that
// used up its time is not repeated, so that a silent array is known as such
// soon.
//
// # The session
//
// Many short-lived processes of a host share one login through a file that only
// root can read (Options.SessionFile): see session.go.
//
// # What is trusted
//
// The array's words are shown, but never trusted: they are bounded in length,
// their control characters are escaped, and secrets that they may repeat are cut
// out. Numbers are 64-bit; a fraction where an integer belongs is refused.
//
// Proxies of the environment are not used: a management network is reached
// directly, and libvirt's hook has another environment than a shell, so that
// the two would differ. Redirects are refused, because they would carry the
// session elsewhere.
package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/internal/config"
)

// Credentials are an API token, or a user and a password for which the array
// gives one.
type Credentials struct {
	APIToken config.Secret
	User     string
	Password config.Secret
}

// Options say which array, as whom, and how.
type Options struct {
	// URL is https://array[:port]; the path is added.
	URL *url.URL
	// Credentials is asked once by each process that uses the array, so a
	// token that was changed in its file is taken the next time.
	Credentials func() (Credentials, error)
	// CAFile holds the certificates, PEM, that the array's must descend from,
	// instead of those that the system trusts.
	CAFile string
	// Insecure accepts any certificate; New warns each time.
	Insecure bool
	// CallTimeout bounds each call; 0 is 15 s.
	CallTimeout time.Duration
	// MaxConnections of this process to the array; 0 is 8.
	MaxConnections int
	// SessionFile is shared by the processes of this host; "" shares nothing.
	// Its folder is made if it is missing; it must be one that does not survive
	// a boot.
	SessionFile string
	Log         *logrus.Entry // nil: logrus's standard logger
	UserAgent   string        // "" is volbridge
}

// Client is one array. Several goroutines may use it.
type Client struct {
	options Options
	base    url.URL
	http    *http.Client
	log     *logrus.Entry
	cache   *Cache
	shared  *sessionFile // nil: nothing is shared

	observe func(status int, took time.Duration)

	pause time.Duration // before the first repeat; each is twice the one before
	login chan struct{} // holds one element while nobody is logging in

	mu       sync.Mutex
	current  session
	failure  error // of the last login, at failedAt
	failedAt time.Time
	hidden   []string // secrets that no message may show
}

// New makes a client. It asks nobody.
func New(o Options) (*Client, error) {
	base, err := baseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Credentials == nil {
		return nil, fmt.Errorf("FlashArray %s: no credentials were given", base.Host)
	}
	o = o.withDefaults()
	transport, err := newTransport(o)
	if err != nil {
		return nil, fmt.Errorf("FlashArray %s: %w", base.Host, err)
	}
	return newClient(o, base, transport), nil
}

// Broken is the client where New fails: each call that it sends ends with why,
// as an ErrUnreachable.
func Broken(o Options, why error) *Client {
	return newClient(o.withDefaults(), url.URL{Scheme: o.URL.Scheme, Host: o.URL.Host}, broken{why})
}

func newClient(o Options, base url.URL, transport http.RoundTripper) *Client {
	c := &Client{
		options: o, base: base, log: o.Log.WithField("array", base.Host), pause: firstPause,
		login: make(chan struct{}, 1),
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}
	c.login <- struct{}{}
	c.cache = &Cache{memory: map[string][]byte{}}
	if o.SessionFile != "" {
		c.shared = &sessionFile{path: o.SessionFile, log: c.log}
		c.cache = &Cache{dir: strings.TrimSuffix(o.SessionFile, ".json") + ".cache"}
	}
	if o.Insecure {
		c.log.Warn("the certificate of this FlashArray is not verified: whoever stands between can read the session and change answers")
	}
	return c
}

func baseURL(u *url.URL) (url.URL, error) {
	switch {
	case u == nil || u.Host == "":
		return url.URL{}, errors.New("FlashArray: no address was given")
	case u.Scheme != "https":
		return url.URL{}, fmt.Errorf("FlashArray %s: the scheme must be https, not %q", u.Host, u.Scheme)
	}
	return url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func (o Options) withDefaults() Options {
	if o.CallTimeout <= 0 {
		o.CallTimeout = 15 * time.Second
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 8
	}
	if o.Log == nil {
		o.Log = logrus.NewEntry(logrus.StandardLogger())
	}
	if o.UserAgent == "" {
		o.UserAgent = "volbridge"
	}
	return o
}

// Array is the address of the array, for messages.
func (c *Client) Array() string { return c.base.Host }

// Observe has f called at the end of each call that was sent; status is 0 where no
// reply came. It is set before the client is used.
func (c *Client) Observe(f func(status int, took time.Duration)) { c.observe = f }

// Close gives idle connections back. The session on the array stays, because
// other processes use it; the array ends it when nobody has for a while.
func (c *Client) Close() { c.http.CloseIdleConnections() }
