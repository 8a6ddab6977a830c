package settings

import (
	"strings"
	"testing"
)

func TestFindings(t *testing.T) {
	wrong := Findings{}
	wrong.Add("a", "first")
	wrong.Add("a", "second")
	if len(wrong) != 1 || wrong["a"] != "first" {
		t.Error(wrong)
	}
	for file, good := range map[string]bool{"": true, "/a": true, "a": false, "./a": false, "/a\n": false, "/\x7f": false} {
		wrong := Findings{}
		wrong.File("ca_file", file)
		if (wrong["ca_file"] == "") != good || strings.ContainsAny(wrong["ca_file"], "\n\x7f") {
			t.Errorf("%q: %v", file, wrong)
		}
	}
}

func TestAddress(t *testing.T) {
	for text, want := range map[string][2]string{
		"a": {"a", ""}, "a:1": {"a", "1"}, "A.b-c:65535": {"A.b-c", "65535"}, "192.0.2.1": {"192.0.2.1", ""}, "[::1]:3371": {"[::1]", "3371"}, "[fe80::1]": {"[fe80::1]", ""},
	} {
		if host, port, err := Address(text); err != nil || host != want[0] || port != want[1] {
			t.Errorf("%q: %q, %q, %v", text, host, port, err)
		}
	}
	for text, says := range map[string]string{
		"": "host name", " ": "host name", "a b": "host name", "a/": "host name", "a/b": "host name", "u@a": "host name", "u:p@a": "host name",
		"a?b": "host name", "a#b": "host name", "::1": "brackets", "-a": "host name", "a-": "host name", ":1": "host name", "a:b": "host name",
		"a:0": "no port", "a:65536": "no port", "a:99999999999999999999": "no port", "https://a": "host name", "%61": "host name",
	} {
		if host, port, err := Address(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q, %q, %v; want %q", text, host, port, err, says)
		}
	}
}

func TestClip(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a", "a\x00b\n": "a?b?", "\xff": "?", strings.Repeat("x", 101): strings.Repeat("x", 100) + "…",
		strings.Repeat("ä", 60): strings.Repeat("ä", 50) + "…", "x" + strings.Repeat("ä", 60): "x" + strings.Repeat("ä", 49) + "…",
	} {
		if got := Clip(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
