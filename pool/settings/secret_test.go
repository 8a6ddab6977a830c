package settings

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/testenv"
)

const secret = "8a4d29c1-0d5c-4b7e-9d4c-0f7d3c5b2a10"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func secretFile(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(dir, name)
	must(t, os.WriteFile(file, []byte(text), 0o600))
	must(t, os.Chmod(file, mode))
	return file
}

// fails says whether an error names the key and says what is wrong, but shows no
// secret.
func fails(err error, key, says string) bool {
	return err != nil && strings.Contains(err.Error(), key) && strings.Contains(err.Error(), says) && !strings.Contains(err.Error(), secret)
}

func TestSecretFiles(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		says string // "": taken
	}{
		"plain":                {secret, 0o600, ""},
		"end of line":          {secret + "\n", 0o400, ""},
		"end of line, DOS":     {secret + "\r\n", 0o600, ""},
		"as long as it may be": {strings.Repeat("x", LongestSecret), 0o600, ""},
		"others read":          {secret, 0o604, "chmod 600"},
		"others write":         {secret, 0o602, "chmod 600"},
		"group writes":         {secret, 0o620, "chmod 600"},
		"empty":                {"\n", 0o600, "is empty"},
		"two lines":            {secret + "\n" + secret + "\n", 0o600, "one line"},
		"a control":            {secret + "\x00", 0o600, "control characters"},
		"too long":             {strings.Repeat("x", LongestSecret+1), 0o600, "longer than"},
	} {
		file := secretFile(t, t.TempDir(), "token", c.text, c.mode)
		got, err := Place{Key: "api_token_file", File: file}.Read(nil)
		if c.says == "" && (err != nil || got.Reveal() != strings.TrimRight(c.text, "\r\n")) {
			t.Errorf("%s: %q, %v", name, got.Reveal(), err)
		}
		if c.says != "" && !fails(err, "api_token_file: ", c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecretFilesOfOtherKinds(t *testing.T) {
	dir := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	for name, says := range map[string]string{"pipe": "not a regular file", ".": "not a regular file", "none": "no such file"} {
		if _, err := (Place{Key: "password_file", File: filepath.Join(dir, name)}).Read(nil); !fails(err, "password_file: ", says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecretFileOwners(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	for name, c := range map[string]struct {
		uid, gid int
		mode     os.FileMode
		taken    bool
	}{
		"root, group root reads": {0, 0, 0o440, true},
		"root, a group reads":    {0, 65534, 0o440, false},
		"root, a group":          {0, 65534, 0o400, true},
		"another user":           {65534, 0, 0o400, false},
	} {
		file := secretFile(t, dir, "f", secret, 0o600)
		must(t, os.Chown(file, c.uid, c.gid))
		must(t, os.Chmod(file, c.mode))
		if _, err := (Place{Key: "token_file", File: file}).Read(nil); (err == nil) != c.taken {
			t.Errorf("%s: %v, want taken %v", name, err, c.taken)
		}
	}
}

// What stands in the settings is a secret too, and could not be sent otherwise.
func TestSecretInTheSettings(t *testing.T) {
	got, err := Place{Key: "token", Value: config.NewSecret(secret)}.Read(nil)
	if err != nil || got.Reveal() != secret {
		t.Error(err)
	}
	if _, err := (Place{Key: "token", Value: config.NewSecret(secret + "\n")}).Read(nil); !fails(err, "token: ", "one line") {
		t.Error(err)
	}
}

// One place is found, and each mistake is noted at its key, without what stands
// there.
func TestSecretPlaces(t *testing.T) {
	value := config.NewSecret(secret)
	for name, c := range map[string]struct {
		value            config.Secret
		file, credential string
		others           []Place
		found, key, says string // key: "" if nothing is wrong
	}{
		"none":                  {},
		"the value":             {value: value, found: "token"},
		"the file":              {file: "/f", found: "token_file"},
		"the credential":        {credential: "c", found: "token_credential"},
		"another":               {others: []Place{{Key: "url", Value: value}}, found: "url"},
		"two":                   {value: value, file: "/f", found: "token", key: "token_file", says: "stands in token already"},
		"another, and the file": {others: []Place{{Key: "url", Value: value}}, file: "/f", found: "url", key: "token_file", says: "stands in url already"},
		"secret for file":       {file: secret, found: "token_file", key: "token_file", says: "use the key token"},
		"control for file":      {file: "/\n", found: "token_file", key: "token_file", says: "without control characters"},
		"secret for credential": {credential: secret + "/+", found: "token_credential", key: "token_credential", says: "use the key token"},
		"a path for credential": {credential: "../c", found: "token_credential", key: "token_credential", says: "name of a credential"},
	} {
		wrong := Findings{}
		got := wrong.Secret(append(c.others, Places("token", c.value, c.file, c.credential)...)...)
		if got.Key != c.found || got.Given() != (c.found != "") {
			t.Errorf("%s: found %q, want %q", name, got.Key, c.found)
		}
		if c.key == "" && len(wrong) > 0 || len(wrong) > 1 || !strings.Contains(wrong[c.key], c.says) || strings.Contains(wrong[c.key], secret) {
			t.Errorf("%s: %v; want %q at %s", name, wrong, c.says, c.key)
		}
	}
}
