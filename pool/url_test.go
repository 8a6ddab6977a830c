package pool

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseURL(t *testing.T) {
	none := map[string]string{}
	for text, want := range map[string]URL{
		"https://a": {Scheme: "https", Hosts: []string{"a"}, Query: none},
		"https://u@a:8443/api?pod=p&transport=nvme-tcp": {Scheme: "https", User: "u", Hosts: []string{"a:8443"}, Path: "/api",
			Query: map[string]string{"pod": "p", "transport": "nvme-tcp"}},
		"https://u%40corp@[::1]:8443/": {Scheme: "https", User: "u@corp", Hosts: []string{"[::1]:8443"}, Path: "/", Query: none},
		"linstor+https://c1,c2:3371/?resource_group=rg": {Scheme: "linstor+https", Hosts: []string{"c1", "c2:3371"}, Path: "/",
			Query: map[string]string{"resource_group": "rg"}},
		"drbd:":              {Scheme: "drbd", Query: none},
		"dir:///srv/a%20b@c": {Scheme: "dir", Path: "/srv/a b@c", Query: none},
		"file:/srv/x":        {Scheme: "file", Path: "/srv/x", Query: none},
	} {
		got, err := ParseURL(text)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, d)
		}
	}
}

// What is refused is not shown: it may be a secret.
func TestURLsThatAreRefused(t *testing.T) {
	for text, secret := range map[string]bool{
		"https://u:geheim@a":   true,
		"https://u:@a":         true,
		"https://u:ge@heim@a":  true,
		"https://u%3Ageheim@a": true,
		"https://u:ge/heim@a":  true,
		"https://:geheim@a":    true,
		"https://u:ge?heim@a":  false,
		"https://u:ge#heim@a":  false,
		"https://ge%zzheim@a":  false,
		"https://@a":           false,
		"https://a:geheim":     false,
		"https://a,,b":         false,
		"https://a:1:2":        false,
		"https://::1":          false,
		"https://a/%zz":        false,
		"https://a?geheim":     false,
		"https://a?x=":         false,
		"https://a?x=1&x=2":    false,
		"https://a?x=1;y=2":    false,
		"geheim":               false,
		"HTTPS://geheim":       false,
		"":                     false,
	} {
		_, err := ParseURL(text)
		if err == nil || errors.Is(err, ErrSecretInURL) != secret {
			t.Errorf("%q: %v, want a secret seen: %v", text, err, secret)
		}
		if err != nil && (strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "heim@")) {
			t.Errorf("%q: shows it: %v", text, err)
		}
	}
}

// FuzzParseURL: no text breaks it, an error never repeats what was written, and
// no user has a colon.
func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"https://u@a/api?pod=p", "https://u:p@a", "dir:///srv", "drbd:?resources=a*,b", "linstor://a,b:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURL("https://u:9f3c1d-" + text + "@array")
		if err == nil && !strings.ContainsAny(text, "/?#") {
			t.Errorf("a password was taken: %q", text)
		}
		if err != nil && strings.Contains(err.Error(), "9f3c1d-") {
			t.Error(err)
		}
		u, err = ParseURL(text)
		if err == nil && strings.Contains(u.User, ":") {
			t.Errorf("%q has the user %q", text, u.User)
		}
	})
}
