package pool

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/volbridge/volbridge/internal/lazyregexp"
)

// URL is the short form of a pool's settings that `volbridge pool add` takes:
// SCHEME:[//[USER@]HOST[:PORT][,HOST…]][/PATH][?KEY=VALUE&…]. It holds no
// secret. It is taken apart here and not by net/url, which knows one host only
// and shows the whole text in its errors.
type URL struct {
	Scheme string
	User   string
	Hosts  []string // HOST or HOST:PORT, as they are written
	Path   string
	Query  map[string]string
}

// Described is what a URL says of a pool. The keys of its query are taken by
// who asks.
type Described struct {
	// Settings are key → value; the values of a list stand between commas.
	Settings map[string]string
	// Secret is the key of the login's secret; empty: there is none.
	Secret string
	// NoSecret: the login may be left out.
	NoSecret bool
}

// ErrSecretInURL: the URL has a password or a token. Whatever stands on a command
// line can be seen in the list of processes.
var ErrSecretInURL = errors.New("the URL holds a secret, which others on this host can see in the list of processes and in the history of the shell: " +
	"leave it out of the URL; it is asked for, or read with --secret-file. Change the secret on the storage, it is known by now")

var (
	schemeForm = lazyregexp.New(`^[a-z][a-z0-9+]*$`)
	urlHost    = lazyregexp.New(`^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:[0-9]{1,5})?$`)
)

// ParseURL takes a URL apart. Its errors show nothing of it: it may hold a
// secret, where nobody expects one too.
func ParseURL(text string) (URL, error) {
	scheme, rest, found := strings.Cut(text, ":")
	if !found || !schemeForm.MatchString(scheme) {
		return URL{}, errors.New("the URL has no scheme: it begins as https://…, linstor+https://…, drbd: or dir:///…")
	}
	if strings.Contains(rest, "#") {
		return URL{}, errors.New("the URL has a #, which means nothing in one: write %23 for it")
	}
	u := URL{Scheme: scheme}
	rest, query, _ := strings.Cut(rest, "?")
	path := rest
	if after, has := strings.CutPrefix(rest, "//"); has {
		end := strings.IndexByte(after, '/')
		if end < 0 {
			end = len(after)
		}
		path = after[end:]
		if err := u.takeAuthority(after[:end], path); err != nil {
			return URL{}, err
		}
	}
	var err error
	if u.Path, err = url.PathUnescape(path); err != nil {
		return URL{}, errors.New("the path of the URL cannot be read: write %25 for a %")
	}
	return u, u.takeQuery(query)
}

func (u *URL) takeAuthority(text, path string) error {
	hosts := text
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		user, err := url.PathUnescape(text[:at])
		switch {
		case strings.Contains(text[:at], ":") || strings.Contains(user, ":"):
			return ErrSecretInURL
		case err != nil || user == "" || strings.ContainsFunc(user, isControl):
			return errors.New("the user in the URL cannot be read: write %40 for an @ in it, and leave a secret out")
		}
		u.User, hosts = user, text[at+1:]
	}
	if hosts == "" {
		return nil
	}
	for _, host := range strings.Split(hosts, ",") {
		if urlHost.MatchString(host) {
			u.Hosts = append(u.Hosts, host)
			continue
		}
		if strings.Contains(hosts, ":") && strings.Contains(path, "@") {
			return ErrSecretInURL // a password with a / in it
		}
		return errors.New("a host in the URL cannot be one: write HOST or HOST:PORT, with commas between several, and an IPv6 address in brackets")
	}
	return nil
}

func (u *URL) takeQuery(text string) error {
	query, err := url.ParseQuery(text)
	if err != nil {
		return errors.New("the query of the URL cannot be read: write ?KEY=VALUE&KEY=VALUE, with %26 for an & in a value, and the URL in quotes")
	}
	u.Query = map[string]string{}
	for key, values := range query {
		if len(values) != 1 || values[0] == "" {
			return errors.New("the query of the URL has a key twice, or one without a value: write ?KEY=VALUE&KEY=VALUE, and the URL in quotes")
		}
		u.Query[key] = values[0]
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// OneHost returns the host of a URL that has to name one, and no path but those
// that are given.
func (u URL) OneHost(paths ...string) (string, error) {
	if len(u.Hosts) != 1 {
		return "", fmt.Errorf("the URL names %d hosts: write %s://HOST", len(u.Hosts), u.Scheme)
	}
	return u.Hosts[0], u.OnlyPath(paths...)
}

// OnlyPath refuses a path other than those, or "/", or none.
func (u URL) OnlyPath(paths ...string) error {
	path := strings.TrimSuffix(u.Path, "/")
	for _, p := range append(paths, "") {
		if path == p {
			return nil
		}
	}
	return fmt.Errorf("the URL has a path, which means nothing here: leave it out, and write settings as ?KEY=VALUE")
}
