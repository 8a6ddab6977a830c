package settings

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// planted is a store below a folder of the test, in which each credential says
// where it is from; the fake that decrypts answers with what is encrypted.
func planted(t *testing.T) (s *Store, root string) {
	t.Helper()
	s, root = Credentials(func(string) string { return "/own" }), t.TempDir()
	for _, dirs := range [][]string{s.Plain, s.Encrypted} {
		for i := range dirs {
			dirs[i] = root + dirs[i]
			must(t, os.MkdirAll(dirs[i], 0o755))
		}
	}
	s.Tool = tool(t, "cat")
	return s, root
}

// tool is a program that does as a script says.
func tool(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "systemd-creds")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	return path
}

var flash1 = Place{Key: "token_credential", Credential: "flash1"}

func TestCredentialOrder(t *testing.T) {
	s, root := planted(t)
	// As systemd.exec(5) says for ImportCredential=, after what is a service's own.
	order := []string{
		"/own", "/run/credentials/virtqemud.service", "/run/credentials/libvirtd.service", "/run/credentials/@system",
		"/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore",
		"/run/credentials/@encrypted",
		"/etc/credstore.encrypted", "/run/credstore.encrypted", "/usr/local/lib/credstore.encrypted", "/usr/lib/credstore.encrypted",
	}
	if all := slices.Concat(s.Plain, s.Encrypted); strings.Join(all, " ") != root+strings.Join(order, " "+root) {
		t.Fatalf("the folders are %v", all)
	}
	for _, dir := range slices.Backward(order) {
		secretFile(t, root+dir, "flash1", dir, 0o400)
		if got, err := flash1.Read(s); err != nil || got.Reveal() != dir {
			t.Errorf("got that of %q, %v; want that of %s", got.Reveal(), err, dir)
		}
	}
}

// Without a folder of its own, or with one that is no path, a process looks where
// the others do.
func TestCredentialsWithoutADirectory(t *testing.T) {
	for _, own := range []string{"", "relative"} {
		if got := Credentials(func(string) string { return own }); got.Plain[0] != "/run/credentials/virtqemud.service" {
			t.Error(got.Plain)
		}
	}
}

// The first that is there counts, even where it cannot be used.
func TestCredentialThatCannotBeUsed(t *testing.T) {
	s, root := planted(t)
	for _, dir := range []string{"/etc/credstore.encrypted", "/usr/lib/credstore"} {
		secretFile(t, root+dir, "flash1", secret, 0o600)
	}
	secretFile(t, root+"/etc/credstore", "flash1", "other", 0o444)
	if _, err := flash1.Read(s); !fails(err, flash1.Key, "chmod 600 "+root+"/etc/credstore/flash1") {
		t.Error(err)
	}
}

// What stands there may be the secret, so that it is not shown.
func TestCredentialThatIsNotThere(t *testing.T) {
	s, _ := planted(t)
	if _, err := (Place{Key: "token_credential", Credential: secret}).Read(s); !fails(err, "token_credential", "systemd-creds encrypt --name=NAME") ||
		!fails(err, "", "LoadCredential=NAME:") {
		t.Error(err)
	}
	s.Plain, s.Encrypted = nil, nil
	if _, err := flash1.Read(s); !fails(err, flash1.Key, "no systemd credential") {
		t.Error(err)
	}
}
