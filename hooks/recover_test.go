package hooks

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRecoveryIsDetached: libvirt waits until nobody has the hook's stdout and
// stderr open, and a signal to the daemon's session must not reach it.
func TestRecoveryIsDetached(t *testing.T) {
	dir := t.TempDir()
	fifo, program := filepath.Join(dir, "said"), filepath.Join(dir, "volbridge")
	must(t, syscall.Mkfifo(fifo, 0o600))
	script := "#!/bin/sh\n{ echo \"$@\"; readlink /proc/$$/fd/0 /proc/$$/fd/2; cut -d' ' -f6 /proc/$$/stat; echo $$; } >" + fifo + "\n"
	must(t, os.WriteFile(program, []byte(script), 0o700))
	must(t, Recovery{Program: program, SystemdDir: filepath.Join(dir, "none")}.Start())
	text, err := os.ReadFile(fifo) // until the script has closed it
	must(t, err)
	said := strings.Fields(string(text))
	if len(said) != 6 || strings.Join(said[:4], " ") != "recover --quiet /dev/null /dev/null" {
		t.Fatalf("%q", said)
	}
	if session, pid := said[4], said[5]; session != pid {
		t.Errorf("process %s is in session %s", pid, session)
	}
}

func TestRecoveryWithoutProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Recovery{Program: "/nonexistent/volbridge", SystemdDir: "/nonexistent"}.Start()
	if err == nil || !strings.Contains(err.Error(), "volbridge") {
		t.Error(err)
	}
}

func TestRecoveryIsAUnitUnderSystemd(t *testing.T) {
	dir := t.TempDir()
	called := filepath.Join(dir, "called")
	must(t, os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\necho \"$@\" >"+called+"\n"), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	must(t, Recovery{Program: "/nonexistent/volbridge", SystemdDir: dir, Unit: "volbridge-recover.service"}.Start())
	text, err := os.ReadFile(called)
	must(t, err)
	if got := string(text); got != "start --no-block --quiet volbridge-recover.service\n" {
		t.Errorf("%q", got)
	}
}
