package settings

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/lazyregexp"
)

const (
	fileKey       = "_file"
	credentialKey = "_credential"
)

// Place is where a secret is: in the settings, in a file that root alone can
// read, or in a credential of systemd with this name. At most one is set.
type Place struct {
	Key              string // of the settings that says it
	Value            config.Secret
	File, Credential string
}

// Given says whether there is a secret.
func (p Place) Given() bool { return !p.Value.Empty() || p.File != "" || p.Credential != "" }

// Places are where the secret may be that key, key_file or key_credential give.
func Places(key string, value config.Secret, file, credential string) []Place {
	return []Place{{Key: key, Value: value}, {Key: key + fileKey, File: file}, {Key: key + credentialKey, Credential: credential}}
}

// Secret finds the one place of a secret among those where it may be, and notes
// what is wrong with them. It never shows what stands where a path or a name
// belongs: it may be the secret itself.
func (f Findings) Secret(places ...Place) Place {
	var first Place
	for _, p := range places {
		switch {
		case !p.Given():
		case first.Given():
			f.Add(p.Key, fmt.Sprintf("the same stands in %s already: remove one of them", first.Key))
		default:
			first = p
		}
		if p.File != "" && !usablePath(p.File) {
			f.Misplaced(p.Key, wantedPath)
		}
		if p.Credential != "" && !credentialForm.MatchString(p.Credential) {
			f.Misplaced(p.Key, "cannot be the name of a credential: letters, digits and the characters _.@:- can")
		}
	}
	return first
}

var credentialForm = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,254}$`)

// Misplaced notes that what stands where the path or the name of a secret belongs
// cannot be one, and which key would take the secret.
func (f Findings) Misplaced(key, wrong string) {
	plain := strings.TrimSuffix(strings.TrimSuffix(key, fileKey), credentialKey)
	f.Add(key, wrong+"; to write the secret itself, use the key "+plain)
}

// Read reads the secret; store is where credentials are, and may be nil for other
// places. Its errors name the key. A file that is not there gives fs.ErrNotExist.
func (p Place) Read(store *Store) (config.Secret, error) {
	switch {
	case p.File != "":
		return readSecret(p.Key, p.File)
	case p.Credential != "":
		return store.read(p.Key, p.Credential)
	}
	return p.Value, fitForHeader(p.Key, p.Value.Reveal())
}

// LongestSecret is more than any password or token has, in bytes.
const LongestSecret = 16 << 10

func readSecret(key, file string) (config.Secret, error) {
	text, err := readGuarded(file)
	if err != nil {
		return config.Secret{}, fmt.Errorf("%s: %w", key, err)
	}
	return secretOf(key, file, text)
}

// secretOf takes what a file holds, or held before it was encrypted.
func secretOf(key, file, text string) (config.Secret, error) {
	text = strings.TrimRight(text, "\r\n")
	if err := fitForHeader(file, text); err != nil {
		return config.Secret{}, fmt.Errorf("%s: %w", key, err)
	}
	return config.NewSecret(text), nil
}

// readGuarded reads a file that root alone can read. What is looked at is what
// is read, whatever the name leads to meanwhile.
func readGuarded(file string) (string, error) {
	f, _, err := openGuarded(file, rootAlone)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, LongestSecret+1))
	if err == nil && len(data) > LongestSecret {
		err = fmt.Errorf("%s is longer than %d bytes: is it the right file?", file, LongestSecret)
	}
	return string(data), err
}

// openGuarded opens a file of which allowed thinks well.
func openGuarded(file string, allowed func(string, fs.FileInfo) error) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to hang at a named pipe
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = allowed(file, info)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// rootAlone refuses a file that others can read or write. The group root may
// read: that is how systemd shows a credential to a service with a user of its
// own.
func rootAlone(file string, info fs.FileInfo) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	forbidden := fs.FileMode(0o077)
	if ok && owner.Gid == 0 {
		forbidden = 0o037
	}
	switch mode := info.Mode(); {
	case !ok || !mode.IsRegular():
		return fmt.Errorf("%s is not a regular file", file)
	case owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d: run 'chown root %[1]s'", file, owner.Uid)
	case mode.Perm()&forbidden != 0:
		return fmt.Errorf("others have access to %s (mode %04o): run 'chmod 600 %[1]s', and change the secret", file, mode.Perm())
	}
	return nil
}

// fitForHeader refuses what could not be sent in a header. It does not say what
// it saw.
func fitForHeader(where, text string) error {
	switch {
	case text == "":
		return fmt.Errorf("%s: is empty", where)
	case strings.ContainsFunc(text, isControl):
		return fmt.Errorf("%s: must be one line without control characters", where)
	}
	return nil
}
