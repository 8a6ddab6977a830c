package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
)

func TestLifeOfADomain(t *testing.T) {
	r := newRig(t)
	names := r.volumes(2)
	xml := r.domain(names...)
	for _, op := range []string{"prepare", "start", "started", "reconnect", "prepare"} {
		if out := r.must(xml, op, "begin"); out != "" {
			t.Errorf("%s printed %q", op, out)
		}
		r.wantHeld(names...)
	}
	r.must(xml, "stopped", "end")
	r.wantHeld(names...)
	// A disk may have been removed from the definition meanwhile.
	r.must(r.domain(), "release", "end")
	r.wantFree(names...)
	r.must(xml, "release", "end")
}

func TestSixteenDisks(t *testing.T) {
	r := newRig(t)
	names := r.volumes(16)
	xml := r.domain(names...)
	r.must(xml, "prepare", "begin")
	r.wantHeld(names...)
	r.must(xml, "release", "end")
	r.wantFree(names...)
}

// other lets another host hold a volume.
func (r *rig) other(volume, owner string) (release func()) {
	r.Helper()
	host := pool.Host{Name: "kvm09", ID: "nine"}
	_, err := r.backend.Grant(r.Context(), pool.GrantRequest{Volume: volume, Host: host, BootID: "boot-9", Owner: pool.Owner{UUID: owner, Name: "web1"}, Mode: pool.Exclusive})
	if err != nil {
		r.Fatal(err)
	}
	return func() {
		if err := r.backend.Revoke(context.Background(), pool.RevokeRequest{Volume: volume, Host: host}); err != nil {
			r.Error(err)
		}
	}
}

func TestVolumeOfAnotherHostIsRefused(t *testing.T) {
	r := newRig(t)
	names := r.volumes(2)
	defer r.other(names[1], uuid)()
	xml := r.domain(names...)
	_, stderr, exit := r.call(xml, "prepare", "begin")
	first, _, _ := strings.Cut(stderr, "\n")
	for _, want := range []string{"volbridge on kvm01: disk vdb of domain web1: ", "held by host kvm09 for domain web1", "volbridge recover"} {
		if exit != 1 || !strings.Contains(first, want) {
			t.Errorf("exit %d, %q; want %q", exit, first, want)
		}
	}
	r.wantFree(names[0])
	r.must(xml, "stopped", "end")
	r.must(xml, "release", "end")
	if h, err := r.backend.Holders(t.Context(), names[1]); err != nil || len(h) != 1 {
		t.Errorf("holders %v, %v", h, err)
	}
}

func TestArrival(t *testing.T) {
	r := newRig(t)
	names := r.volumes(1)
	left := r.other(names[0], uuid)
	out := r.must(r.domain(names...), "migrate", "begin")
	doc, err := domainxml.Parse([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	if meta, _ := doc.Metadata(); meta.Arrival == "" {
		t.Fatalf("no token in %s", out)
	}
	if _, stderr, exit := r.call(r.domain(names...), "prepare", "begin"); exit != 1 || !strings.Contains(stderr, "kvm09") {
		t.Errorf("a cold start beside the source: exit %d, %q", exit, stderr)
	}
	r.must(out, "prepare", "begin")
	left()
	r.wantHeld(names...)
	r.must(out, "release", "end")
	r.wantFree(names...)
}

func TestRestore(t *testing.T) {
	r := newRig(t)
	names := r.volumes(1)
	xml := r.domain(names...)
	if out := r.must(xml, "restore", "begin"); out != "" {
		t.Errorf("printed %q", out)
	}
	r.must(xml, "prepare", "begin")
	r.wantHeld(names...)
	r.must(xml, "release", "end")
	r.wantFree(names...)
}

func TestTenDomainsAtOnce(t *testing.T) {
	r := newRig(t)
	names := r.volumes(10)
	for _, op := range [][2]string{{"prepare", "begin"}, {"release", "end"}} {
		var all sync.WaitGroup
		for i, name := range names {
			xml := strings.Replace(r.domain(name), uuid, fmt.Sprintf("00000000-0000-4000-8000-%012d", i), 1)
			all.Go(func() {
				if _, stderr, exit := r.call(xml, op[0], op[1]); exit != 0 || stderr != "" {
					t.Errorf("%s of domain %d: exit %d, %s", op[0], i, exit, stderr)
				}
			})
		}
		all.Wait()
	}
	r.wantFree(names...)
}

// TestKilledAtAnyTime kills the hook during `prepare`; the `release` that
// libvirt then calls finds whatever was made.
func TestKilledAtAnyTime(t *testing.T) {
	r := newRig(t)
	names := r.volumes(4)
	xml := r.domain(names...)
	survived := 0
	for after := time.Duration(0); survived < 3 && after < time.Minute; after += time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		cmd := exec.CommandContext(ctx, r.program, "web1", "prepare", "begin", "-")
		cmd.Stdin = strings.NewReader(xml)
		if cmd.Run() == nil {
			survived++
		}
		cancel()
		r.must(xml, "release", "end")
		r.wantFree(names...)
	}
}

func TestHostWithoutConfiguration(t *testing.T) {
	r := newRig(t)
	r.volumes(1)
	if err := os.Remove(config.DefaultPath); err != nil {
		t.Fatal(err)
	}
	_, stderr, exit := r.call(r.domain("v0"), "prepare", "begin")
	if want := "pool is not configured: write [pool." + r.pool + "] into " + config.DefaultPath; exit != 1 || !strings.Contains(stderr, want) {
		t.Errorf("exit %d, %q", exit, stderr)
	}
}

// TestUnmanagedDomainEndsEarly: nothing that is expensive was initialised.
func TestUnmanagedDomainEndsEarly(t *testing.T) {
	r := newRig(t)
	r.configure("nonsense")
	for _, op := range [][2]string{{"prepare", "begin"}, {"release", "end"}, {"reconnect", "begin"}, {"started", "begin"}} {
		cmd := exec.Command(r.program, "db1", op[0], op[1], "-")
		cmd.Stdin = strings.NewReader(unmanaged())
		cmd.Env = []string{"GODEBUG=inittrace=1"}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "init os ") || strings.Contains(string(out), "modernc.org/sqlite") {
			t.Errorf("%s: %v\n%s", op[0], err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(r.folder, "state")); !os.IsNotExist(err) {
		t.Errorf("the state file: %v", err)
	}
}

func TestRunByHand(t *testing.T) {
	testenv.NeedRoot(t)
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		exit int
	}{{nil, 2}, {[]string{"--help"}, 0}, {[]string{"--version"}, 0}, {[]string{"web1", "prepare"}, 2}} {
		cmd := exec.Command(program, c.args...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != c.exit || !strings.Contains(string(out), "libvirt calls this program") {
			t.Errorf("%q: exit %d, %s", c.args, cmd.ProcessState.ExitCode(), out)
		}
	}
}
