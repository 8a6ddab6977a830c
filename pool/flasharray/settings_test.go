package flasharray

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

const (
	secretToken    = "6a2b4c1e-4d3f-48a7-9c1d-0c5f00ba4e11"
	secretPassword = "sword@fish"
)

// loaded reads the keys as the configuration does.
func loaded(t *testing.T, keys string) (*Settings, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "volbridge.toml")
	if err := os.WriteFile(file, []byte("[pool.flash]\ntype = 'flasharray'\n"+keys), 0o600); err != nil {
		t.Fatal(err)
	}
	driver := pool.Driver{
		Type: "flasharray", Settings: func() any { return newSettings() },
		Check: func(s any) map[string]string { return checkSettings(s.(*Settings)) },
	}
	c, err := config.Load(file, []pool.Driver{driver})
	if err != nil {
		return nil, err
	}
	return c.Pools[0].Settings.(*Settings), nil
}

func mustLoad(t *testing.T, keys string) (*Settings, place) {
	t.Helper()
	s, err := loaded(t, keys)
	if err != nil {
		t.Fatalf("%s\n%v", keys, err)
	}
	p, wrong := s.place()
	if len(wrong) != 0 {
		t.Fatal(wrong)
	}
	return s, p
}

func TestKeys(t *testing.T) {
	s, p := mustLoad(t, `
address = "flash1.example:8443"
api_token_file = "/etc/volbridge/flash1.token"
pod = "pod-1"
hostgroup = "kvm_hosts"
portals = ["192.0.2.7", "192.0.2.8:4421", "2001:db8::1", "[2001:db8::2]:4420"]
ctrl_loss_timeout = "never"
fast_io_fail_timeout = "5s"
create_host = true
eradicate = true
default_protection = true
ca_file = "/etc/volbridge/ca.pem"
call_timeout = "7s"
connections = 3
`)
	if p.address.String() != "https://flash1.example:8443" || p.pod != "pod-1" || p.hostGroup != "kvm_hosts" || p.transport != NVMeTCP {
		t.Errorf("place %+v", p)
	}
	want := []blockdev.Portal{{Address: "192.0.2.7", Port: 4420}, {Address: "192.0.2.8", Port: 4421}, {Address: "2001:db8::1", Port: 4420}, {Address: "2001:db8::2", Port: 4420}}
	if d := cmp.Diff(want, p.portals); d != "" {
		t.Error(d)
	}
	if s.CtrlLossTimeout >= 0 || time.Duration(s.FastIOFailTimeout) != 5*time.Second || !s.CreateHost || !s.Eradicate || !s.DefaultProtection {
		t.Errorf("settings %+v", s)
	}
	o := s.clientOptions("flash", p, func(string) string { return "" }, nil)
	if o.CallTimeout != 7*time.Second || o.MaxConnections != 3 || o.Insecure || o.CAFile != "/etc/volbridge/ca.pem" ||
		filepath.Dir(o.SessionFile) != "/run/volbridge" {
		t.Errorf("options %+v", o)
	}
	if other := s.clientOptions("flash2", p, func(string) string { return "" }, nil); other.SessionFile == o.SessionFile {
		t.Error("two pools share a session")
	}
}

func TestURLForm(t *testing.T) {
	for _, c := range []struct {
		keys, base, pod, group, user, token, password string
	}{
		{keys: `url = "https://pureuser:sword%40fish@192.0.2.1:443/api?pod=p1&transport=nvme-tcp&hostgroup=hg1"`,
			base: "https://192.0.2.1:443", pod: "p1", group: "hg1", user: "pureuser", password: secretPassword},
		{keys: `url = "https://` + secretToken + `@flash1/api?transport=NVMe-TCP"`, base: "https://flash1", token: secretToken},
		{keys: `url = "https://flash1/?transport=nvme-tcp"` + "\napi_token = '" + secretToken + "'", base: "https://flash1", token: secretToken},
		{keys: `url = "https://pureuser@flash1"` + "\ntransport = 'nvme-tcp'\npassword = '" + secretPassword + "'",
			base: "https://flash1", user: "pureuser", password: secretPassword},
		{keys: `url = "https://pureuser@[2001:db8::1]:8443/api/?pod=p1&transport=nvme-tcp"` + "\npod = 'p1'\nuser = 'pureuser'\npassword = '" + secretPassword + "'",
			base: "https://[2001:db8::1]:8443", pod: "p1", user: "pureuser", password: secretPassword},
	} {
		_, p := mustLoad(t, c.keys)
		if p.address.String() != c.base || p.pod != c.pod || p.hostGroup != c.group || p.transport != NVMeTCP {
			t.Errorf("%s: %+v", c.keys, p)
		}
		who, err := p.login.credentials(nil)()
		if err != nil || who.User != c.user || who.APIToken.Reveal() != c.token || who.Password.Reveal() != c.password {
			t.Errorf("%s: user %q, token %q, password %q, %v", c.keys, who.User, who.APIToken.Reveal(), who.Password.Reveal(), err)
		}
	}
}

const goodLogin = "api_token_file = '/t'\n"

// Each mistake is reported at its key, in words that say what would be right.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ keys, key, says string }{
		{goodLogin, "address", "is required"},
		{"address = 'a b'\n" + goodLogin, "address", "host name or an IP"},
		{"address = 'user@a'\n" + goodLogin, "address", "host name or an IP"},
		{"address = 'https://a'\n" + goodLogin, "address", "host name or an IP"},
		{"address = 'a/api'\n" + goodLogin, "address", "host name or an IP"},
		{"address = '2001:db8::1'\n" + goodLogin, "address", "brackets"},
		{"address = 'a:0'\n" + goodLogin, "address", "no port"},
		{"address = 'a:70000'\n" + goodLogin, "address", "no port"},
		{"address = 'a'", "api_token", "a login is required"},
		{"address = 'a'\nuser = 'u'", "password", "required beside a user"},
		{"address = 'a'\npassword = 'sword@fish'", "user", "required beside a password"},
		{"address = 'a'\nuser = 'u'\npassword = 'sword@fish'\npassword_file = '/p'", "password_file", "stands in password already"},
		{"address = 'a'\napi_token = 'x'\n" + goodLogin, "api_token_file", "stands in api_token already"},
		{"address = 'a'\nuser = 'u'\n" + goodLogin, "user", "needs no user"},
		{"address = 'a'\nuser = 'u'\npassword = 'sword@fish'\n" + goodLogin, "password", "API token already"},
		{"address = 'a'\napi_token_credential = '../x'", "api_token_credential", "name of a credential"},
		{"address = 'a'\napi_token_file = 't'", "api_token_file", "absolute path"},
		{"address = 'a'\ntransport = 'fc'\n" + goodLogin, "transport", "fc: volbridge cannot do this yet"},
		{"address = 'a'\ntransport = 'iscsi'\n" + goodLogin, "transport", "iscsi: volbridge cannot do this yet"},
		{"address = 'a'\ntransport = 'nvme-fc'\n" + goodLogin, "transport", "nvme-fc: volbridge cannot do this yet"},
		{"address = 'a'\ntransport = 'nvme-roce'\n" + goodLogin, "transport", "nvme-roce: volbridge cannot do this yet"},
		{"address = 'a'\ntransport = 'nfs'\n" + goodLogin, "transport", "no transport"},
		{"address = 'a'\npod = 'p::v'\n" + goodLogin, "pod", "cannot be a name"},
		{"address = 'a'\nhostgroup = '-x'\n" + goodLogin, "hostgroup", "cannot be a name"},
		{"address = 'a'\nportals = ['array']\n" + goodLogin, "portals", "no portal"},
		{"address = 'a'\nportals = ['192.0.2.1:0']\n" + goodLogin, "portals", "no portal"},
		{"address = 'a'\nportals = ['0.0.0.0']\n" + goodLogin, "portals", "no portal"},
		{"address = 'a'\nportals = ['192.0.2.1', '192.0.2.1:4420']\n" + goodLogin, "portals", "twice"},
		{"address = 'a'\ncall_timeout = '0s'\n" + goodLogin, "call_timeout", "more than 0"},
		{"address = 'a'\nconnections = 0\n" + goodLogin, "connections", "from 1 to"},
		{"address = 'a'\nctrl_loss_timeout = '1500ms'\n" + goodLogin, "ctrl_loss_timeout", "whole seconds"},
		{"address = 'a'\nctrl_loss_timeout = 'soon'\n" + goodLogin, "ctrl_loss_timeout", "or never"},
		{"address = 'a'\nctrl_loss_timeout = '5s'\nfast_io_fail_timeout = '6s'\n" + goodLogin, "fast_io_fail_timeout", "longer than"},
		{"address = 'a'\ntls_verify = false\nca_file = '/c'\n" + goodLogin, "tls_verify", "ca_file would not be used"},
		{"address = 'a'\nsession_dir = 'run'\n" + goodLogin, "session_dir", "absolute path"},
		{"address = 'a'\nurl = 'https://a?transport=nvme-tcp'\n" + goodLogin, "address", "remove one"},
		{"url = 'https://a/api?pod=p'\n" + goodLogin, "transport", "means Fibre Channel"},
		{"url = 'https://a'\n" + goodLogin, "transport", "means Fibre Channel"},
		{"url = 'https://a?pod=p&transport=nvme-tcp'\npod = 'q'\n" + goodLogin, "pod", `the URL says "p"`},
		{"url = 'https://a?transport=iscsi'\ntransport = 'nvme-tcp'\n" + goodLogin, "transport", "remove one"},
		{"url = 'https://u:sword%40fish@a?transport=nvme-tcp'\n" + goodLogin, "url", "API token already"},
		{"url = 'https://u:sword%40fish@a?transport=nvme-tcp'\npassword = 'sword@fish'", "password", "stands in url already"},
	} {
		_, err := loaded(t, c.keys)
		if err == nil || !strings.Contains(err.Error(), "pool.flash."+c.key+": ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v; want %q at %s", c.keys, err, c.says, c.key)
		}
		if err != nil && strings.Contains(err.Error(), secretPassword) {
			t.Errorf("%q: the message shows the password: %v", c.keys, err)
		}
	}
}

// A URL that cannot be used is never shown, because it may hold a password in
// any of its parts.
func TestWrongURLs(t *testing.T) {
	for url, says := range map[string]string{
		"http://u:swordfish@a/api":                             "https://",
		"u:swordfish@a":                                        "https://",
		"https:u:swordfish@a":                                  "after a #",
		"https://u:sword/swordfish@a/api":                      "cannot be read",
		"https://u:swordfish#x@a":                              "",
		"https://u:sword%zzfish@swordfish":                     "cannot be read",
		"https://u:swordfish@a/login":                          "path /api",
		"https://u:swordfish@/api":                             "no usable host",
		"https://u:swordfish@a b":                              "cannot be read",
		"https://u@a?swordfish=1":                              "a key that is unknown",
		"https://u@a?pod=x&pod=swordfish":                      "twice",
		"https://u:swordfish@a?pod=":                           "without a value",
		"https://u:swordfish@a?pod=%zz":                        "query that cannot be read",
		"https://u:swordfish@a?pod=x;transport=y":              "query that cannot be read",
		"https://u:swordfish@a?transport=nvme-tcp#swordfish":   "after a #",
		"https://u:swordfish@a:99999999999?transport=nvme-tcp": "no usable host",
	} {
		_, err := parseURL(url)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "swordfish") {
			t.Errorf("%s: %v; want %q", url, err, says)
		}
	}
}

// The configuration must be readable by root alone where it holds a URL.
func TestURLMakesTheFileSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "volbridge.toml")
	text := "[pool.flash]\ntype = 'flasharray'\nurl = 'https://u:sword%40fish@a?transport=nvme-tcp'\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(file, []pool.Driver{{
		Type: "flasharray", Settings: func() any { return newSettings() },
		Check: func(s any) map[string]string { return checkSettings(s.(*Settings)) },
	}})
	if err == nil || !strings.Contains(err.Error(), "chmod 600") || strings.Contains(err.Error(), "sword") {
		t.Error(err)
	}
}

// Settings travel to other processes as JSON, without what is secret.
func TestSettingsAsJSON(t *testing.T) {
	s, _ := mustLoad(t, "address = 'a'\nctrl_loss_timeout = 'never'\n"+goodLogin)
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	again := newSettings()
	if err := json.Unmarshal(data, again); err != nil {
		t.Fatal(err)
	}
	if wrong := checkSettings(again); len(wrong) != 0 || again.CtrlLossTimeout != never {
		t.Errorf("%v: %s", slices.Collect(maps.Keys(wrong)), data)
	}
	s.Password = config.NewSecret(secretPassword)
	for _, text := range []string{fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s)} {
		if strings.Contains(text, secretPassword) {
			t.Error(text)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("https://pureuser:pw@192.0.2.1:443/api?pod=p1&transport=nvme-tcp&hostgroup=hg1")
	f.Add("https://[::1]:8443?pod=a")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseURL(text)
		if err != nil {
			return
		}
		again, err := parseURL(u.base.String())
		if err != nil || again.base.String() != u.base.String() || u.base.User != nil || u.base.Path != "" {
			t.Errorf("%q gave the base %s, which is not one: %v", text, u.base, err)
		}
	})
}
