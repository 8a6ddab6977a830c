package settings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/volbridge/volbridge/internal/config"
)

const (
	// patience is how long systemd-creds may take: a TPM is slow.
	patience = 15 * time.Second
	// longestSealed is more than an encrypted secret of LongestSecret has, in bytes.
	longestSealed = 128 << 10
	// longestWords is how much is kept of what systemd-creds says.
	longestWords = 400
)

// sealed is a state of an encrypted file: after a change it is another.
type sealed struct {
	name             string
	device, inode    uint64
	size             int64
	modified, change syscall.Timespec
}

// decrypt reads an encrypted credential. What was decrypted once is remembered as
// long as the file stays as it is: a pool may need its login at each call.
func (s *Store) decrypt(key, name, file string) (config.Secret, error) {
	f, info, err := openGuarded(file, rootWrites)
	if err != nil {
		return config.Secret{}, fmt.Errorf("%s: %w", key, err)
	}
	defer f.Close()
	stat := info.Sys().(*syscall.Stat_t) // rootWrites has seen it
	is := sealed{name, stat.Dev, stat.Ino, stat.Size, stat.Mtim, stat.Ctim}
	s.mu.Lock()
	defer s.mu.Unlock()
	if secret, known := s.decrypted[is]; known {
		return secret, nil
	}
	text, err := s.run(name, f)
	if err != nil {
		return config.Secret{}, fmt.Errorf("%s: decrypt %s: %w", key, file, err)
	}
	secret, err := secretOf(key, "what "+file+" holds", text)
	if err == nil {
		s.decrypted = map[sealed]config.Secret{is: secret}
	}
	return secret, err
}

// rootWrites refuses what cannot be an encrypted credential of root's. Others may
// read it: without the host's key or its TPM it says nothing.
func rootWrites(file string, info fs.FileInfo) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode(); {
	case !ok || !mode.IsRegular():
		return fmt.Errorf("%s is not a regular file", file)
	case owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d: run 'chown root %[1]s'", file, owner.Uid)
	case mode.Perm()&0o022 != 0:
		return fmt.Errorf("others may write %s (mode %04o): run 'chmod go-w %[1]s', and see that it is still yours", file, mode.Perm())
	case info.Size() > longestSealed:
		return fmt.Errorf("%s is longer than %d bytes: is it the right file?", file, longestSealed)
	}
	return nil
}

// run has systemd-creds decrypt what is open. The secret comes by a pipe, and the
// name is compared with the one that was encrypted with it.
func (s *Store) run(name string, f *os.File) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Tool, "decrypt", "--name="+name, "-", "-")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, words := beginning{most: LongestSecret + 1}, beginning{most: longestWords}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, &out, &words
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		// Not as fs.ErrNotExist: the credential is there.
		return "", errors.New("there is no systemd-creds on this host, which comes with systemd 250: " +
			"install it, or keep the secret in a file that root alone can read")
	case ctx.Err() != nil:
		return "", fmt.Errorf("systemd-creds did not end within %s: see whether the TPM of this host works", s.Patience)
	case err != nil:
		return "", refusedBy(name, err, words.String())
	case out.Len() > LongestSecret:
		return "", fmt.Errorf("it holds more than %d bytes: is it the right file?", LongestSecret)
	}
	return out.String(), nil
}

func refusedBy(name string, err error, words string) error {
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return fmt.Errorf("run systemd-creds: %w", err)
	}
	said := strings.Join(strings.Fields(strings.Map(printable, strings.ToValidUTF8(words, "?"))), " ")
	if said != "" {
		said = ": " + said
	}
	return fmt.Errorf("systemd-creds: %w%s; what was encrypted on another host or under another name cannot be decrypted: do it here, with "+
		"'systemd-creds encrypt --name=%s - /etc/credstore.encrypted/%[3]s'", err, said, name)
}

func printable(r rune) rune {
	if isControl(r) {
		return ' '
	}
	return r
}

// beginning keeps the beginning of what is written to it.
type beginning struct {
	bytes.Buffer
	most int
}

func (b *beginning) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), b.most-b.Len())])
	return len(p), nil
}
