package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/settings"
)

// secretsFolder is where the secrets of pools are that `pool add` wrote.
func secretsFolder(configPath string) (string, error) {
	path, err := filepath.Abs(configPath)
	return filepath.Join(filepath.Dir(path), "secrets"), err
}

// addedSecret is the login's secret of a pool that is added, and where it is to
// be kept.
type addedSecret struct {
	key        string // of the settings; "": there is no secret
	value      config.Secret
	file       string // where it is kept; "": not in a file
	copied     bool   // the file is ours to write
	credential string
	inline     bool

	stored bool // the file was written
}

// addedSecret asks for the secret that the pool needs.
func (a *app) addedSecret(ctx context.Context, n *addition, d pool.Described) (s addedSecret, err error) {
	given := n.SecretFile != "" || n.Credential != "" || n.Inline
	if d.Secret == "" && given {
		return s, usagef("a pool of type %s has no login: leave --secret-file, --credential and --inline out", n.driver.Type)
	}
	if d.Secret == "" || d.NoSecret && !given {
		return s, nil
	}
	s = addedSecret{key: d.Secret, credential: n.Credential, inline: n.Inline}
	if n.Credential != "" {
		return s, nil
	}
	if !n.Inline {
		folder, err := secretsFolder(a.global.Config)
		if err != nil {
			return s, err
		}
		s.file, s.copied = filepath.Join(folder, n.Name), true
		if same(n.SecretFile, s.file) {
			s.copied = false
		}
	}
	if n.DryRun && n.NoCheck {
		return s, nil // nobody needs it
	}
	s.value, err = a.readSecret(ctx, n.SecretFile, fmt.Sprintf("%s of pool %s: ", d.Secret, n.Name))
	return s, err
}

func same(a, b string) bool {
	path, err := filepath.Abs(a)
	return a != "" && err == nil && path == b
}

// readSecret reads a file, standard input, or what a person types unseen.
func (a *app) readSecret(ctx context.Context, file, prompt string) (config.Secret, error) {
	switch {
	case file == "-":
		text, err := io.ReadAll(io.LimitReader(a.in, settings.LongestSecret+1))
		if err != nil {
			return config.Secret{}, fmt.Errorf("read the secret from standard input: %w", err)
		}
		return checkedSecret("standard input", strings.TrimRight(string(text), "\r\n"))
	case file != "":
		path, err := filepath.Abs(file)
		if err != nil {
			return config.Secret{}, err
		}
		s, err := settings.Place{Key: "--secret-file", File: path}.Read(nil)
		if errors.Is(err, fs.ErrNotExist) {
			err = withCode(exitNotFound, err)
		}
		return s, err
	}
	terminal, ok := a.in.(*os.File)
	if !ok || !a.inTerminal {
		return config.Secret{}, withCode(exitRefused, errors.New("nobody can be asked for the secret here: say --secret-file FILE, or --secret-file - and pass it on standard input"))
	}
	text, err := a.askUnseen(ctx, terminal, prompt)
	if err != nil {
		return config.Secret{}, fmt.Errorf("ask for the secret: %w", err)
	}
	return checkedSecret("what was typed", text)
}

func checkedSecret(where, text string) (config.Secret, error) {
	return settings.Place{Key: where, Value: config.NewSecret(text)}.Read(nil)
}

// askUnseen reads a line from the terminal, which shows nothing of it. After
// Ctrl-C the terminal is as it was.
func (a *app) askUnseen(ctx context.Context, terminal *os.File, prompt string) (string, error) {
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		return "", err
	}
	fmt.Fprint(a.err, prompt)
	defer fmt.Fprintln(a.err)
	type answer struct {
		text []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(int(terminal.Fd()))
		typed <- answer{text, err}
	}()
	select {
	case got := <-typed:
		return string(got.text), got.err
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), term.Restore(int(terminal.Fd()), before))
	}
}

// asIs are the settings with the secret itself, for a pool that is only tried.
func (s *addedSecret) asIs() map[string]string {
	if s.key == "" || s.credential != "" {
		return s.kept()
	}
	return map[string]string{s.key: s.value.Reveal()}
}

// kept are the settings as they are written into the file.
func (s *addedSecret) kept() map[string]string {
	switch {
	case s.key == "":
		return nil
	case s.credential != "":
		return map[string]string{s.key + "_credential": s.credential}
	case s.file != "":
		return map[string]string{s.key + "_file": s.file}
	}
	return map[string]string{s.key: s.value.Reveal()}
}

// shown is kept for people.
func (s *addedSecret) shown() map[string]string {
	if s.inline {
		return map[string]string{s.key: config.Redacted}
	}
	return s.kept()
}

// fitting refuses a secret in a file that others can read, before it is in it.
func (s *addedSecret) fitting(e config.Editor) error {
	if !s.inline {
		return nil
	}
	_, perm, err := e.Current()
	if err == nil && perm&0o077 != 0 {
		err = withCode(exitRefused, fmt.Errorf("others can read %s (mode %04o), so that no secret may be in it: run 'chmod 600 %[1]s', or leave --inline out", e.Path, perm))
	}
	return err
}

// store writes the secret's file, which must be new.
func (s *addedSecret) store(e config.Editor) error {
	if !s.copied {
		return nil
	}
	err := e.WriteSecret(s.file, []byte(s.value.Reveal()+"\n"))
	switch {
	case errors.Is(err, fs.ErrExist):
		return withCode(exitRefused, fmt.Errorf("%s is there already, and may be another's secret: remove it, or take it with --secret-file %[1]s", s.file))
	case err != nil:
		return fmt.Errorf("write the secret: %w", err)
	}
	s.stored = true
	return nil
}

// remove takes back what store wrote.
func (s *addedSecret) remove() error {
	s.stored = false
	err := os.Remove(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
