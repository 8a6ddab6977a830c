package linstor

import (
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/config"
)

func TestSettings(t *testing.T) {
	secret := config.NewSecret("hidden")
	good := func() *Settings {
		s := newSettings()
		s.Controllers, s.ResourceGroup = []string{"store1"}, "vms"
		return s
	}
	for what, c := range map[string]struct {
		set  func(*Settings)
		key  string // "": nothing is wrong
		says string
	}{
		"good":               {func(*Settings) {}, "", ""},
		"nobody":             {func(s *Settings) { s.Controllers = nil }, "controllers", "is required"},
		"a path":             {func(s *Settings) { s.Controllers = []string{"http://a/b"} }, "controllers", "host name"},
		"a login in it":      {func(s *Settings) { s.Controllers = []string{"https://u:p@a"} }, "controllers", "host name"},
		"another scheme":     {func(s *Settings) { s.Controllers = []string{"ftp://a"} }, "controllers", "linstor+ssl://"},
		"a bad port":         {func(s *Settings) { s.Controllers = []string{"a:0"} }, "controllers", "no port"},
		"IPv6":               {func(s *Settings) { s.Controllers = []string{"[fe80::1]:3371", "[::1]"} }, "", ""},
		"no group":           {func(s *Settings) { s.ResourceGroup = "" }, "resource_group", "is required"},
		"a bad prefix":       {func(s *Settings) { s.Prefix = "1-" }, "prefix", "cannot begin"},
		"a bad node":         {func(s *Settings) { s.Node = "a/b" }, "node", "node"},
		"no time":            {func(s *Settings) { s.CallTimeout = 0 }, "call_timeout", "more than 0"},
		"a login in clear":   {func(s *Settings) { s.User, s.Password = "u", secret }, "controllers", "tls = true"},
		"a login over TLS":   {func(s *Settings) { s.TLS, s.User, s.Password = true, "u", secret }, "", ""},
		"no password":        {func(s *Settings) { s.TLS, s.User = true, "u" }, "password", "required"},
		"no user":            {func(s *Settings) { s.TLS, s.Password = true, secret }, "user", "required"},
		"two logins":         {func(s *Settings) { s.TLS, s.User, s.Password, s.Token = true, "u", secret, secret }, "user", "token already"},
		"two tokens":         {func(s *Settings) { s.TLS, s.Token, s.TokenFile = true, secret, "/f" }, "token_file", "already"},
		"a bad credential":   {func(s *Settings) { s.TLS, s.TokenCredential = true, "a/b" }, "token_credential", "credential"},
		"a token for a file": {func(s *Settings) { s.TLS, s.TokenFile = true, "hidden" }, "token_file", "use the key token"},
		"a token for a name": {func(s *Settings) { s.TLS, s.TokenCredential = true, "hidden/x" }, "token_credential", "use the key token"},
		"a relative file":    {func(s *Settings) { s.CAFile = "ca.pem" }, "ca_file", "absolute"},
		"half a certificate": {func(s *Settings) { s.CertFile = "/c" }, "cert_file", "both"},
		"a CA for nothing":   {func(s *Settings) { s.CAFile, s.TLSVerify = "/c", false }, "tls_verify", "remove one"},
	} {
		s := good()
		c.set(s)
		wrong := checkSettings(s)
		if c.key == "" && len(wrong) > 0 || c.key != "" && !strings.Contains(wrong[c.key], c.says) {
			t.Errorf("%s: %v", what, wrong)
		}
		for _, text := range wrong {
			if strings.Contains(text, "hidden") {
				t.Errorf("%s: shows the secret: %s", what, text)
			}
		}
	}
}

func TestControllerAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"a": "http://a:3370", "a:1": "http://a:1", "https://a": "https://a:3371", "linstor+ssl://a/": "https://a:3371",
		"linstor://a:9": "http://a:9", "[::1]": "http://[::1]:3370", "http://a/": "http://a:3370",
	} {
		u, err := (&Settings{}).controller(text)
		if err != nil || u.String() != want {
			t.Errorf("%s: %v, %v; want %s", text, u, err, want)
		}
	}
	if u, err := (&Settings{TLS: true}).controller("a"); err != nil || u.String() != "https://a:3371" {
		t.Errorf("tls: %v, %v", u, err)
	}
}
