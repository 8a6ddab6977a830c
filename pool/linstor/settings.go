package linstor

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/lazyregexp"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool/linstor/rest"
	"github.com/volbridge/volbridge/pool/settings"
)

// Settings are the keys of a pool of type "linstor".
type Settings struct {
	// Controllers of the cluster: host, host:port or a URL. One of them answers.
	Controllers []string `toml:"controllers"`
	// ResourceGroup that the volumes are of.
	ResourceGroup string `toml:"resource_group"`
	// Prefix that the names of all resource definitions of this pool begin with.
	Prefix string `toml:"prefix"`
	// Node is LINSTOR's name of this host; empty: the host's name.
	Node string `toml:"node"`
	// Diskful gives each host that uses a volume a replica of its own, which
	// stays; otherwise it gets a diskless client where it has no replica.
	Diskful bool `toml:"diskful"`

	// The login: a token, or a user and one password. A file must be readable by
	// root alone; a credential is one of systemd's, see secret.go.
	User               string        `toml:"user"`
	Password           config.Secret `toml:"password" json:",omitzero"`
	PasswordFile       string        `toml:"password_file"`
	PasswordCredential string        `toml:"password_credential"`
	Token              config.Secret `toml:"token" json:",omitzero"`
	TokenFile          string        `toml:"token_file"`
	TokenCredential    string        `toml:"token_credential"`

	// TLS asks controllers that are given without a scheme over https.
	TLS bool `toml:"tls"`
	// TLSVerify compares their certificate with CAFile, or with what the system
	// trusts. CertFile and KeyFile are this host's own.
	TLSVerify bool   `toml:"tls_verify"`
	CAFile    string `toml:"ca_file"`
	CertFile  string `toml:"cert_file"`
	KeyFile   string `toml:"key_file"`
	// CallTimeout bounds each call. A controller answers a change when the nodes
	// have made it.
	CallTimeout units.Duration `toml:"call_timeout"`
}

// newSettings are the defaults.
func newSettings() *Settings {
	return &Settings{TLSVerify: true, CallTimeout: units.Duration(30 * time.Second)}
}

// checkSettings reports every mistake: key → what is wrong with it.
func checkSettings(s *Settings) map[string]string {
	_, wrong := s.options(func(string) string { return "" })
	return wrong
}

var (
	groupForm  = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_-]{1,47}$`)
	nodeForm   = lazyregexp.New(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?$`)
	prefixForm = lazyregexp.New(`^([A-Za-z_][A-Za-z0-9_.-]{0,31})?$`)
)

const longestCall = 10 * time.Minute

// options are what the controllers are asked with, and everything that is wrong
// with the settings. It reads no file.
func (s *Settings) options(getenv func(string) string) (rest.Options, map[string]string) {
	wrong := settings.Findings{}
	o := rest.Options{CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile, Insecure: !s.TLSVerify, CallTimeout: time.Duration(s.CallTimeout)}
	o.Controllers = s.controllers(wrong)
	login := s.login(wrong)
	if login.given() {
		o.Credentials = login.reader(settings.Credentials(getenv))
		s.needTLS(o.Controllers, wrong)
	}
	if !groupForm.MatchString(s.ResourceGroup) {
		wrong.Add("resource_group", "is required: the name of a resource group of the cluster")
	}
	if !prefixForm.MatchString(s.Prefix) {
		wrong.Add("prefix", fmt.Sprintf("%q cannot begin the name of a resource: up to 32 letters, digits, '_', '-' and '.', the first a letter or '_'", settings.Clip(s.Prefix)))
	}
	if s.Node != "" && !nodeForm.MatchString(s.Node) {
		wrong.Add("node", fmt.Sprintf("%q cannot be the name of a node", settings.Clip(s.Node)))
	}
	if d := time.Duration(s.CallTimeout); d <= 0 || d > longestCall {
		wrong.Add("call_timeout", fmt.Sprintf("must be more than 0 and at most %s, not %s", longestCall, d))
	}
	s.checkFiles(wrong)
	return o, wrong
}

func (s *Settings) controllers(wrong settings.Findings) (list []*url.URL) {
	if len(s.Controllers) == 0 {
		wrong.Add("controllers", "is required: the hosts on which the controller may run, such as [\"store1\", \"store2\"]")
	}
	for _, text := range s.Controllers {
		u, err := s.controller(text)
		if err != nil {
			wrong.Add("controllers", fmt.Sprintf("%q: %v", settings.Clip(text), err))
			continue
		}
		list = append(list, u)
	}
	return list
}

var (
	schemes = map[string]string{"http": "http", "https": "https", "linstor": "http", "linstor+ssl": "https"}
	ports   = map[string]string{"http": "3370", "https": "3371"}
)

// controller takes host, host:port or a URL as LINSTOR's own client does.
func (s *Settings) controller(text string) (*url.URL, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "http", text
		if s.TLS {
			scheme = "https"
		}
	}
	scheme, known := schemes[scheme]
	if !known {
		return nil, fmt.Errorf("must begin with http://, https://, linstor:// or linstor+ssl://, or have no scheme")
	}
	host, port, err := settings.Address(strings.TrimSuffix(rest, "/"))
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: scheme, Host: host + ":" + cmp.Or(port, ports[scheme])}, nil
}

// needTLS: what is sent over http can be read on its way.
func (s *Settings) needTLS(controllers []*url.URL, wrong settings.Findings) {
	for _, u := range controllers {
		if u.Scheme != "https" {
			wrong.Add("controllers", fmt.Sprintf("%s is asked over http, where others can read the login: set tls = true, or write https://", u.Host))
		}
	}
}

func (s *Settings) checkFiles(wrong settings.Findings) {
	wrong.File("ca_file", s.CAFile)
	wrong.File("cert_file", s.CertFile)
	wrong.File("key_file", s.KeyFile)
	if (s.CertFile == "") != (s.KeyFile == "") {
		wrong.Add("cert_file", "cert_file and key_file belong together: give both or none")
	}
	if s.CAFile != "" && !s.TLSVerify {
		wrong.Add("tls_verify", "is false, so that ca_file would not be used: remove one of them")
	}
}
