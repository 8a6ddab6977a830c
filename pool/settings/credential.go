package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/volbridge/volbridge/internal/config"
)

// Store is where this host has credentials of systemd. The hook and the command
// are not started by a unit that says LoadCredential=, so they look for
// themselves, where systemd does for ImportCredential= and in its order: what is
// plain first, then what is encrypted.
type Store struct {
	// Plain and Encrypted are folders, best first. A credential is the file of its
	// name.
	Plain, Encrypted []string
	// Tool decrypts: systemd-creds, or a path to it. Patience bounds it.
	Tool     string
	Patience time.Duration

	mu        sync.Mutex
	decrypted map[sealed]config.Secret
}

// Credentials is the store of this host; getenv is os.Getenv. It looks at
// nothing.
//
// libvirt starts a hook with an environment of its own, so the hook has no
// CREDENTIALS_DIRECTORY; but it runs while the daemon does, whose folder is at a
// known place and readable by root. After it come the machine's own credentials,
// and the folders where an administrator puts some.
func Credentials(getenv func(string) string) *Store {
	s := &Store{
		Plain:     []string{"/run/credentials/virtqemud.service", "/run/credentials/libvirtd.service", "/run/credentials/@system"},
		Encrypted: []string{"/run/credentials/@encrypted"},
		Tool:      "systemd-creds",
		Patience:  patience,
	}
	if own := getenv("CREDENTIALS_DIRECTORY"); filepath.IsAbs(own) {
		s.Plain = append([]string{own}, s.Plain...)
	}
	for _, folder := range []string{"/etc", "/run", "/usr/local/lib", "/usr/lib"} {
		s.Plain = append(s.Plain, folder+"/credstore")
		s.Encrypted = append(s.Encrypted, folder+"/credstore.encrypted")
	}
	return s
}

// read finds a credential. The first one that is there counts, even if it cannot
// be used.
func (s *Store) read(key, name string) (config.Secret, error) {
	for _, dir := range s.Plain {
		secret, err := readSecret(key, filepath.Join(dir, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return secret, err
		}
	}
	for _, dir := range s.Encrypted {
		secret, err := s.decrypt(key, name, filepath.Join(dir, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return secret, err
		}
	}
	// Not by its name, which may be a secret that was written there.
	return config.Secret{}, fmt.Errorf("%s: no systemd credential has the name that stands there: encrypt it with "+
		"'systemd-creds encrypt --name=NAME - /etc/credstore.encrypted/NAME', or write it into /etc/credstore/NAME (mode 0600), "+
		"or give libvirt's service LoadCredential=NAME:/path and restart it", key)
}
