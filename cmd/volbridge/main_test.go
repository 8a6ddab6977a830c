package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/drivers"
)

var update = flag.Bool("update", false, "write the expected outputs anew")

// TestMain runs the tests with a private /run, where the hints of domains have a
// fixed place. As one of the programs of the scripts it is inside already.
func TestMain(m *testing.M) {
	programs := map[string]func(){"volbridge": main, "volbridge-killed": mainUntilKilled}
	if programs[filepath.Base(os.Args[0])] == nil {
		testenv.Private("/run")
	}
	testscript.Main(m, programs)
}

// TestScripts runs the stories of testdata/script with the real program, on
// dir pools below $WORK and libvirt's built-in test driver.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: setup,
		// go test -update writes what is compared anew.
		UpdateScripts: *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"grant":    grant,
			"readonly": readonly,
			"cutoffs":  cutoffs,
		},
	})
}

func setup(e *testscript.Env) error {
	e.Setenv("VOLBRIDGE_CONFIG", filepath.Join(e.WorkDir, "volbridge.toml"))
	e.Setenv("LIBVIRT_DEFAULT_URI", "test:///default")
	e.Setenv("NEWLINE", "a\nb")
	e.Setenv("LONG", strings.Repeat("x", 300))
	e.Setenv("TZ", "UTC")
	text := `
state_dir = "WORK/state"
run_dir = "WORK/run"
host_name = "kvm01"
host_id = "id-of-kvm01"

[pool.fast]
type = "dir"
path = "WORK/fast"
granularity = "1MiB"
`
	if err := os.Mkdir(filepath.Join(e.WorkDir, "fast"), 0o700); err != nil {
		return err
	}
	text = strings.ReplaceAll(text, "WORK", e.WorkDir)
	file := filepath.Join(e.WorkDir, "default.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	a := &app{out: io.Discard, err: io.Discard, drivers: drivers.All, global: globals{Config: file}}
	return a.poolInit(context.Background(), "fast")
}

// exits CODE PROGRAM ARG...: runs a program that must end with this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%q ended with %d, want %s", args[1:], got, args[0])
	}
}

// grant VOLUME HOST DOMAIN: a host takes a volume of pool fast.
func grant(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: grant VOLUME HOST DOMAIN")
	}
	c, err := config.Load(ts.Getenv("VOLBRIDGE_CONFIG"), drivers.All)
	ts.Check(err)
	b, err := c.OpenPools(bridge.ErrNoPool, nil).Open("fast")
	ts.Check(err)
	_, err = b.Grant(context.Background(), pool.GrantRequest{
		Volume: args[0], Mode: pool.Exclusive, BootID: "boot-of-" + args[1],
		Host:  pool.Host{Name: args[1], ID: "id-of-" + args[1]},
		Owner: pool.Owner{Name: args[2], UUID: "5b7e8b0a-3f2d-4a0e-9d6c-0123456789ab"},
	})
	ts.Check(err)
}

// readonly FOLDER: nobody, not even root, can write there any more.
func readonly(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: readonly FOLDER")
	}
	dir := ts.MkAbs(args[0])
	if os.Geteuid() != 0 {
		ts.Check(os.Chmod(dir, 0o500))
		ts.Defer(func() { ts.Check(os.Chmod(dir, 0o700)) })
		return
	}
	ts.Check(unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	ts.Defer(func() { ts.Check(unix.Unmount(dir, 0)) })
	ts.Check(unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
}

// cutoffs FILE: the program must refuse the file cut off at every length, and
// must not print anything of it.
func cutoffs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cutoffs FILE")
	}
	whole := strings.TrimRight(ts.ReadFile(args[0]), "\n")
	cut := ts.MkAbs("cut.xml")
	for n := range len(whole) {
		ts.Check(os.WriteFile(cut, []byte(whole[:n]), 0o600))
		var out strings.Builder
		a := &app{out: &out, err: &out}
		err := a.domainRewrite(cut, nil)
		if err == nil || !strings.Contains(err.Error(), "cut.xml") || out.Len() > 0 {
			ts.Fatalf("cut off after %d bytes: err = %v, printed %q", n, err, out.String())
		}
	}
}
