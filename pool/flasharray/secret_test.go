package flasharray

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/pool/settings"
)

// The login reads the token where the settings say that it is.
func TestCredential(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "flash1"), []byte(secretToken+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	s, p := mustLoad(t, "address = 'a'\napi_token_credential = 'flash1'\n")
	who, err := p.login.credentials(&settings.Store{Plain: []string{dir}})()
	if err != nil || who.APIToken.Reveal() != secretToken {
		t.Errorf("%q, %v", who.APIToken.Reveal(), err)
	}
	s.APITokenCredential = "flash2"
	p, _ = s.place()
	if _, err := p.login.credentials(&settings.Store{Plain: []string{dir}})(); err == nil || !strings.Contains(err.Error(), "LoadCredential=NAME:") {
		t.Error(err)
	}
}

// A secret that was written where a path or a name belongs is not shown.
func TestMisplacedSecretIsNotShown(t *testing.T) {
	const spaced = "sword fish"
	for _, c := range []struct{ keys, secret, says string }{
		{"api_token_file = '" + secretToken + "'", secretToken, "use the key api_token"},
		{"user = 'u'\npassword_file = '" + secretPassword + "'", secretPassword, "use the key password"},
		{"api_token_credential = '" + secretToken + "'", secretToken, "form of an API token"},
		{"user = 'u'\npassword_credential = '" + spaced + "'", spaced, "name of a credential"},
	} {
		_, err := loaded(t, "address = 'a'\n"+c.keys+"\n")
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), c.secret) {
			t.Errorf("%s: %v; want one that says %q", c.keys, err, c.says)
		}
	}
	// This one may be a name, so only a look for it can tell.
	_, p := mustLoad(t, "address = 'a'\nuser = 'u'\npassword_credential = 'swordfish'\n")
	if _, err := p.login.credentials(&settings.Store{Plain: []string{t.TempDir()}})(); err == nil || strings.Contains(err.Error(), "swordfish") {
		t.Error(err)
	}
}
