package settings

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/testenv"
)

// An encrypted credential goes to systemd-creds by its standard input, and comes
// back by its standard output; of the arguments one is its name.
func TestDecrypt(t *testing.T) {
	s, root := planted(t)
	file := secretFile(t, root+"/etc/credstore.encrypted", "flash1", "sealed", 0o644)
	asked := filepath.Join(root, "asked")
	s.Tool = tool(t, fmt.Sprintf(`echo "$* $(cat)" >>%s; echo %s`, asked, secret))
	for range 3 {
		if got, err := flash1.Read(s); err != nil || got.Reveal() != secret {
			t.Fatalf("%q, %v", got.Reveal(), err)
		}
	}
	const call = "decrypt --name=flash1 - - sealed\n"
	if text, err := os.ReadFile(asked); err != nil || string(text) != call {
		t.Errorf("systemd-creds was asked %q, %v", text, err)
	}
	// Another file of the same name and length is another credential.
	must(t, os.Remove(file))
	secretFile(t, root+"/etc/credstore.encrypted", "flash1", "SEALED", 0o644)
	if _, err := flash1.Read(s); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(asked); err != nil || string(text) != call+strings.Replace(call, "sealed", "SEALED", 1) {
		t.Errorf("after a change systemd-creds was asked %q, %v", text, err)
	}
}

// Many calls at once have it decrypted once.
func TestDecryptAtOnce(t *testing.T) {
	s, root := planted(t)
	secretFile(t, root+"/etc/credstore.encrypted", "flash1", "sealed", 0o600)
	asked := filepath.Join(root, "asked")
	s.Tool = tool(t, fmt.Sprintf("echo x >>%s; echo %s", asked, secret))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := flash1.Read(s); err != nil || got.Reveal() != secret {
				t.Errorf("%q, %v", got.Reveal(), err)
			}
		})
	}
	all.Wait()
	if text, err := os.ReadFile(asked); err != nil || string(text) != "x\n" {
		t.Errorf("systemd-creds was asked %q, %v", text, err)
	}
}

func TestDecryptFails(t *testing.T) {
	for name, c := range map[string]struct {
		script, text string
		mode         os.FileMode
		says         string
	}{
		"refused":         {script: "echo 'Failed to\n decrypt: \x1bno' >&2; exit 1", says: "exit status 1: Failed to decrypt: no; what was encrypted on another host"},
		"silent":          {script: "exit 3", says: "exit status 3; what was encrypted"},
		"killed":          {script: "kill -9 $$", says: "signal: killed"},
		"long words":      {script: "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1", says: strings.Repeat("x", longestWords) + ";"},
		"nothing":         {script: "true", says: "is empty"},
		"two lines":       {script: "echo a; echo " + secret, says: "one line"},
		"without an end":  {script: "exec yes " + secret, says: "did not end within"},
		"too long":        {script: "head -c 100000 /dev/zero | tr '\\0' x", says: "more than 16384 bytes"},
		"hangs":           {script: "exec sleep 600", says: "did not end within 300ms"},
		"no program":      {script: "", says: "systemd 250"},
		"others write":    {mode: 0o622, says: "chmod go-w"},
		"group writes":    {mode: 0o660, says: "chmod go-w"},
		"too much of it":  {text: strings.Repeat("x", longestSealed+1), says: "longer than"},
		"its own message": {script: "echo ok; echo warning >&2", says: ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := planted(t)
			s.Patience = time.Minute
			if strings.Contains(c.says, "did not end") {
				s.Patience = 300 * time.Millisecond
			}
			s.Tool = tool(t, c.script)
			if c.script == "" {
				s.Tool = filepath.Join(root, "none")
			}
			if c.mode == 0 {
				c.mode = 0o600
			}
			file := secretFile(t, root+"/run/credstore.encrypted", "flash1", c.text, c.mode)
			got, err := flash1.Read(s)
			if c.says == "" && (err != nil || got.Reveal() != "ok") {
				t.Errorf("%q, %v", got.Reveal(), err)
			}
			if c.says != "" && (!fails(err, flash1.Key+": ", c.says) || !strings.Contains(err.Error(), file) || strings.ContainsAny(err.Error(), "\n\x1b")) {
				t.Errorf("%v; want one that says %q", err, c.says)
			}
		})
	}
}

// systemd-creds that is nowhere on the path is said to be missing; what is no
// file is not given to it.
func TestDecryptWhatIsNot(t *testing.T) {
	s, root := planted(t)
	secretFile(t, root+"/run/credstore.encrypted", "flash1", "", 0o600)
	s.Tool = "systemd-creds-that-is-nowhere"
	if _, err := flash1.Read(s); !fails(err, flash1.Key, "systemd 250") {
		t.Error(err)
	}
	must(t, os.Mkdir(root+"/etc/credstore.encrypted/flash1", 0o755))
	if _, err := flash1.Read(s); !fails(err, flash1.Key, "not a regular file") {
		t.Error(err)
	}
}

func TestDecryptOwners(t *testing.T) {
	testenv.NeedRoot(t)
	s, root := planted(t)
	file := secretFile(t, root+"/etc/credstore.encrypted", "flash1", secret, 0o600)
	must(t, os.Chown(file, 65534, 0))
	if _, err := flash1.Read(s); !fails(err, flash1.Key, "chown root") {
		t.Error(err)
	}
}

// What systemd-creds of this machine has encrypted is read, and refused under
// another name, after a change, and with another host's key.
func TestDecryptWithSystemd(t *testing.T) {
	testenv.NeedRoot(t)
	if _, err := exec.LookPath("systemd-creds"); err != nil {
		testenv.Missing(t, "systemd-creds")
	}
	const key = "/var/lib/systemd/credential.secret"
	_, before := os.Lstat(key)
	s, root := planted(t)
	s.Tool, s.Patience = "systemd-creds", time.Minute
	host := func(name string) {
		// A key of the test's own, in the place of the machine's.
		t.Setenv("SYSTEMD_CREDENTIAL_SECRET", filepath.Join(root, name))
	}
	encrypt := func(name, file string) {
		t.Helper()
		cmd := exec.Command("systemd-creds", "encrypt", "--with-key=host", "--name="+name, "-", file)
		cmd.Stdin = strings.NewReader(secret)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	host("key1")
	file := root + "/etc/credstore.encrypted/flash1"
	encrypt("flash1", file)
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), secret) {
		t.Fatalf("%v: %s", err, text)
	}
	if got, err := flash1.Read(s); err != nil || got.Reveal() != secret {
		t.Errorf("%q, %v", got.Reveal(), err)
	}
	fresh := func() *Store { return &Store{Encrypted: s.Encrypted, Tool: s.Tool, Patience: s.Patience} }
	refused := func(what string) {
		t.Helper()
		if _, err := flash1.Read(fresh()); !fails(err, flash1.Key+": decrypt "+file, "systemd-creds encrypt --name=flash1") {
			t.Errorf("%s: %v", what, err)
		} else {
			t.Logf("%s: %v", what, err)
		}
	}
	host("key2")
	encrypt("other", root+"/other")
	refused("of another host")
	host("key1")
	must(t, os.Remove(file))
	encrypt("flash2", file)
	refused("of another name")
	must(t, os.WriteFile(file, []byte("c3dvcmRmaXNo\n"), 0o600))
	refused("of nobody")
	if _, after := os.Lstat(key); (before == nil) != (after == nil) {
		t.Errorf("%s was %v and is %v", key, before, after)
	}
}
