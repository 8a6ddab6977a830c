package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/sirupsen/logrus"
)

func TestSecretAndPermissions(t *testing.T) {
	const head = "[pool.fast]\ntype='array'\naddress='a'\n"
	for _, c := range []struct {
		text    string
		perm    os.FileMode
		refused bool
	}{
		{head + "token = 'swordfish'", 0o600, false},
		{head + "token = 'swordfish'", 0o400, false},
		{head + "token = 'swordfish'", 0o640, true},
		{head + "token = 'swordfish'", 0o604, true},
		{head + "login = {password = 'swordfish'}", 0o644, true},
		{head + "token = ''", 0o644, false},
		{head, 0o644, false},
	} {
		_, err := Load(write(t, c.text, c.perm), drivers(new([]string)))
		if (err != nil) != c.refused {
			t.Errorf("mode %o, %q: %v, want refused %v", c.perm, c.text, err, c.refused)
		}
		if c.refused && (!strings.Contains(err.Error(), "chmod 600") || strings.Contains(err.Error(), "swordfish")) {
			t.Errorf("error %v must say what to do, and not the secret", err)
		}
	}
}

func TestSecretShowsItselfToNobody(t *testing.T) {
	const value = "swordfish"
	type hidden struct{ inner Secret }
	s := NewSecret(value)
	var shown []string
	for _, thing := range []any{s, &s, []Secret{s}, map[string]Secret{"a": s}, struct{ S Secret }{s}, hidden{s}, &hidden{s}, login{"u", s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%e", "%p", "%10.3s"} {
			shown = append(shown, fmt.Sprintf(verb, thing))
		}
		if b, err := json.Marshal(thing); err == nil {
			shown = append(shown, string(b))
		}
		if b, err := toml.Marshal(struct{ X any }{thing}); err == nil {
			shown = append(shown, string(b))
		}
		for _, f := range []logrus.Formatter{&logrus.TextFormatter{}, &logrus.JSONFormatter{}} {
			var b bytes.Buffer
			l := logrus.New()
			l.Out, l.Formatter = &b, f
			l.WithField("thing", thing).Error("x")
			shown = append(shown, b.String())
		}
		var b bytes.Buffer
		slog.New(slog.NewTextHandler(&b, nil)).Error("x", "thing", thing)
		slog.New(slog.NewJSONHandler(&b, nil)).Error("x", "thing", thing)
		shown = append(shown, b.String())
	}
	shown = append(shown, fmt.Errorf("login: %w: %v", errors.New("x"), s).Error())
	for _, text := range shown {
		for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value)} {
			if strings.Contains(text, form) {
				t.Errorf("the secret is in %q", text)
			}
		}
	}
	if len(shown) < 8*14 || s.Reveal() != value || s.Empty() || !(Secret{}).Empty() {
		t.Error("nothing was looked at, or the secret is lost")
	}
	if b, err := json.Marshal(login{"u", s}); err != nil || string(b) != `{"User":"u","Password":"[secret]"}` {
		t.Errorf("JSON = %s, %v", b, err)
	}
}
