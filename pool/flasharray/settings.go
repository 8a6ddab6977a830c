package flasharray

import (
	"fmt"
	"net/url"
	"time"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/lazyregexp"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool/settings"
)

// Settings are the keys of a pool of type "flasharray". The array is given by
// Address and keys of their own, or by URL, the form that other software uses;
// what stands in both must agree.
type Settings struct {
	// Address of the array's management: host[:port].
	Address string `toml:"address"`
	// URL is https://[user:password@]host[:port]/api?pod=P&transport=T&hostgroup=G.
	// An API token may stand in place of user:password. As in other software a
	// URL without a transport means Fibre Channel, unless the key transport is
	// given.
	URL config.Secret `toml:"url" json:",omitzero"`

	// The login: one API token, or a user and one password. A file must be
	// readable by root alone; a credential is one of systemd's, see secret.go.
	APIToken           config.Secret `toml:"api_token" json:",omitzero"`
	APITokenFile       string        `toml:"api_token_file"`
	APITokenCredential string        `toml:"api_token_credential"`
	User               string        `toml:"user"`
	Password           config.Secret `toml:"password" json:",omitzero"`
	PasswordFile       string        `toml:"password_file"`
	PasswordCredential string        `toml:"password_credential"`

	// Pod that the volumes are in; empty: in none.
	Pod string `toml:"pod"`
	// HostGroup that volumes are connected to, for good; empty: each volume is
	// connected to the hosts that use it.
	HostGroup string `toml:"hostgroup"`
	// Transport is how hosts reach the volumes; with Address it is nvme-tcp
	// unless something else is said.
	Transport string `toml:"transport"`
	// Portals to connect to, IP[:port], instead of all that the array offers.
	Portals []string `toml:"portals"`
	// CtrlLossTimeout and FastIOFailTimeout are the kernel's for a lost
	// connection; 0 leaves its own.
	CtrlLossTimeout   LossTimeout    `toml:"ctrl_loss_timeout"`
	FastIOFailTimeout units.Duration `toml:"fast_io_fail_timeout"`

	// CreateHost makes this host on the array if it is not there.
	CreateHost bool `toml:"create_host"`
	// Eradicate removes a deleted volume at once; else the array keeps it, with
	// its space, for as long as it is set to.
	Eradicate bool `toml:"eradicate"`
	// DefaultProtection puts new volumes under the array's default protection,
	// which may forbid to eradicate them.
	DefaultProtection bool `toml:"default_protection"`

	// TLSVerify compares the array's certificate with CAFile, or with what the
	// system trusts.
	TLSVerify bool   `toml:"tls_verify"`
	CAFile    string `toml:"ca_file"`
	// CallTimeout bounds each call of the array's management.
	CallTimeout units.Duration `toml:"call_timeout"`
	// Connections to the management that one process has at most.
	Connections int `toml:"connections"`
	// SessionDir is where the processes of this host share a login. It must not
	// survive a boot. Empty: each process logs in on its own.
	SessionDir string `toml:"session_dir"`
}

// newSettings are the defaults.
func newSettings() *Settings {
	return &Settings{
		TLSVerify:   true,
		CallTimeout: units.Duration(15 * time.Second),
		Connections: 8,
		SessionDir:  "/run/volbridge",
	}
}

// place is what the settings mean: where the volumes are and how one gets there.
type place struct {
	address        *url.URL // https://host[:port]
	pod, hostGroup string
	transport      Transport
	portals        []blockdev.Portal
	login          login
}

// nameForm is what Purity takes as the name of a pod, a host or a host group.
var nameForm = lazyregexp.New(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)

// checkSettings reports every mistake: key → what is wrong with it.
func checkSettings(s *Settings) map[string]string {
	_, wrong := s.place()
	return wrong
}

// place says what the settings mean, and everything that is wrong with them.
// It reads no file.
func (s *Settings) place() (place, map[string]string) {
	wrong := settings.Findings{}
	u := s.parsedURL(wrong)
	p := place{
		address:   s.address(u, wrong),
		pod:       agree(wrong, "pod", s.Pod, u.pod),
		hostGroup: agree(wrong, "hostgroup", s.HostGroup, u.hostGroup),
		transport: s.transport(u, wrong),
		login:     s.login(u, wrong),
	}
	for key, name := range map[string]string{"pod": p.pod, "hostgroup": p.hostGroup} {
		if name != "" && !nameForm.MatchString(name) {
			wrong.Add(key, fmt.Sprintf("%q cannot be a name on the array: up to 63 letters, digits, '-' and '_'", clip(name)))
		}
	}
	p.portals = s.portals(wrong)
	s.checkNumbers(wrong)
	s.checkFiles(wrong)
	return p, wrong
}

// agree is the value of a key that the URL may give too.
func agree(wrong settings.Findings, key, value, inURL string) string {
	if value != "" && inURL != "" && value != inURL {
		wrong.Add(key, fmt.Sprintf("is %q, but the URL says %q: remove one of them", clip(value), clip(inURL)))
	}
	if value != "" {
		return value
	}
	return inURL
}

func (s *Settings) parsedURL(wrong settings.Findings) fieldURL {
	if s.URL.Empty() {
		return fieldURL{}
	}
	u, err := parseURL(s.URL.Reveal())
	if err != nil {
		wrong.Add("url", err.Error())
	}
	return u
}

func (s *Settings) address(u fieldURL, wrong settings.Findings) *url.URL {
	switch {
	case !s.URL.Empty() && s.Address != "":
		wrong.Add("address", "the key url names the array already: remove one of them")
	case !s.URL.Empty():
		return u.base
	case s.Address == "":
		wrong.Add("address", "is required: the host name or IP address of the array's management (or url)")
	default:
		base, err := parseAddress(s.Address)
		if err != nil {
			wrong.Add("address", err.Error())
		}
		return base
	}
	return nil
}

func (s *Settings) transport(u fieldURL, wrong settings.Findings) Transport {
	name := agree(wrong, "transport", s.Transport, u.transport)
	if name == "" && s.URL.Empty() {
		return NVMeTCP
	}
	if name == "" {
		wrong.Add("transport", "is required: a URL without transport means Fibre Channel, which volbridge cannot do yet; "+
			"write transport = \"nvme-tcp\", or put transport=nvme-tcp into the URL")
		return FibreChannel
	}
	t, err := ParseTransport(name)
	if err == nil {
		err = t.Usable()
	}
	if err != nil {
		wrong.Add("transport", err.Error())
	}
	return t
}

const (
	longestCall     = 5 * time.Minute
	mostConnections = 64
	longestLoss     = 365 * 24 * time.Hour
)

func (s *Settings) checkNumbers(wrong settings.Findings) {
	if d := time.Duration(s.CallTimeout); d <= 0 || d > longestCall {
		wrong.Add("call_timeout", fmt.Sprintf("must be more than 0 and at most %s, not %s", longestCall, d))
	}
	if s.Connections < 1 || s.Connections > mostConnections {
		wrong.Add("connections", fmt.Sprintf("must be from 1 to %d, not %d", mostConnections, s.Connections))
	}
	for key, d := range map[string]time.Duration{
		"ctrl_loss_timeout": time.Duration(s.CtrlLossTimeout), "fast_io_fail_timeout": time.Duration(s.FastIOFailTimeout),
	} {
		if d > longestLoss || d > 0 && d%time.Second != 0 {
			wrong.Add(key, fmt.Sprintf("must be whole seconds, up to a year, not %s", d))
		}
	}
	loss, fail := time.Duration(s.CtrlLossTimeout), time.Duration(s.FastIOFailTimeout)
	if loss > 0 && fail > loss {
		wrong.Add("fast_io_fail_timeout", fmt.Sprintf("is %s, longer than ctrl_loss_timeout (%s): it would never pass", fail, loss))
	}
}

func (s *Settings) checkFiles(wrong settings.Findings) {
	wrong.File("ca_file", s.CAFile)
	wrong.File("session_dir", s.SessionDir)
	if s.CAFile != "" && !s.TLSVerify {
		wrong.Add("tls_verify", "is false, so that ca_file would not be used: remove one of them")
	}
}
