package drbdtools_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/lab/drbdsim"
)

func TestMain(m *testing.M) {
	drbdsim.Main()
	goleak.VerifyTestMain(m)
}

func cluster(t *testing.T) (drbdsim.Cluster, drbdtools.Tools, drbdtools.Tools) {
	t.Helper()
	c, err := drbdsim.New(t.TempDir(), os.Args[0], "kvm01", "kvm02")
	if err := errors.Join(err, c.Add("r0", 7, 1<<20, "kvm01", "kvm02")); err != nil {
		t.Fatal(err)
	}
	return c, drbdtools.Tools{Folder: c.Tools("kvm01")}, drbdtools.Tools{Folder: c.Tools("kvm02")}
}

func allowed(t *testing.T, h drbdtools.Tools) (bool, error) {
	t.Helper()
	s, err := h.State(t.Context(), "r0")
	if err != nil {
		t.Fatal(err)
	}
	return h.TwoPrimariesAllowed(t.Context(), s)
}

func TestRoles(t *testing.T) {
	c, a, b := cluster(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.Primary(ctx, "r0"))
	must(a.Primary(ctx, "r0"))
	if err := b.Primary(ctx, "r0"); !drbdtools.Answered(err, drbdtools.TwoPrimaries) ||
		!strings.HasSuffix(err.Error(), "(-1) Multiple primaries not allowed by config") {
		t.Errorf("a second one: %v", err)
	}
	must(b.AllowTwoPrimaries(ctx, "r0"))
	for _, h := range []drbdtools.Tools{a, b} {
		if on, err := allowed(t, h); !on || err != nil {
			t.Errorf("allowed: %v, %v", on, err)
		}
	}
	must(b.Primary(ctx, "r0"))
	if err := a.ForbidTwoPrimaries(ctx, "r0", "C"); !drbdtools.Answered(err, drbdtools.BothPrimary) {
		t.Errorf("forbid while there are two: %v", err)
	}
	must(c.Change(func(s *drbdsim.State) error { s.Resources["r0"].Hosts["kvm01"].Open = true; return nil }))
	if err := a.Secondary(ctx, "r0"); !drbdtools.Answered(err, drbdtools.InUse) {
		t.Errorf("open: %v", err)
	}
	must(b.Secondary(ctx, "r0"))
	must(b.ForbidTwoPrimaries(ctx, "r0", "C"))
	s, err := a.State(ctx, "r0")
	must(err)
	if s.Role != drbdtools.Primary || len(s.Peers) != 1 || s.Peers[0].Role != "Secondary" || s.Devices[0].Minor != 7 {
		t.Errorf("%+v", s)
	}
	if on, err := allowed(t, a); on || err != nil {
		t.Errorf("in the end allowed: %v, %v", on, err)
	}
}

func TestDown(t *testing.T) {
	c, a, _ := cluster(t)
	if err := c.Change(func(s *drbdsim.State) error { s.Resources["r0"].Hosts["kvm01"].Down = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if s, err := a.State(t.Context(), "r0"); err != nil || len(s.Devices) != 0 || s.Resource != "r0" {
		t.Errorf("%+v, %v", s, err)
	}
	if on, err := allowed(t, a); on || err != nil {
		t.Errorf("%v, %v", on, err)
	}
}

func TestNamesReachNoTool(t *testing.T) {
	c, a, _ := cluster(t)
	for _, name := range []string{"", "-v", "--help", "a b", "a/b", "..", "all\n", strings.Repeat("a", 128), "ä"} {
		_, state := a.State(t.Context(), name)
		_, two := a.TwoPrimariesAllowed(t.Context(), drbdtools.State{Resource: name})
		for _, err := range []error{state, two, a.Primary(t.Context(), name), a.Secondary(t.Context(), name),
			a.AllowTwoPrimaries(t.Context(), name), a.ForbidTwoPrimaries(t.Context(), name, "C")} {
			if err == nil {
				t.Errorf("%q was accepted", name)
			}
		}
	}
	if s, err := c.State(); err != nil || len(s.Calls) > 0 {
		t.Errorf("called: %v, %v", s.Calls, err)
	}
}

func TestToolsThatFail(t *testing.T) {
	c, a, _ := cluster(t)
	for mode, want := range map[drbdsim.Mode]string{
		drbdsim.Fail: "drbdsetup events2 --now r0: exit status 20: drbdsim: it broke", drbdsim.Nonsense: "supported?",
	} {
		if err := c.Arm(1, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := a.State(t.Context(), "r0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", mode, err)
		}
	}
	if err := c.Arm(1, drbdsim.Hang); err != nil {
		t.Fatal(err)
	}
	a.Timeout = 50 * time.Millisecond
	if err := a.Primary(t.Context(), "r0"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "may still take effect") {
		t.Errorf("a tool that hangs: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Primary(ended, "r0"); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	if err := (drbdtools.Tools{Folder: t.TempDir()}).Primary(t.Context(), "r0"); err == nil || !strings.Contains(err.Error(), "install drbd-utils") {
		t.Errorf("no tools: %v", err)
	}
}

// TestWords: what a tool complains about is shown in one short line, what it
// prints never.
func TestWords(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho SECRET\nprintf 'bad\\033[2J thing\\n\\nCommand x terminated with exit code 1\\n' >&2\n" +
		"i=0; while [ $i -lt 3000 ]; do echo 'and on and on' >&2; i=$((i+1)); done\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "drbdadm"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	err := drbdtools.Tools{Folder: dir}.Primary(t.Context(), "r0")
	if err == nil || !strings.HasPrefix(err.Error(), "drbdadm primary r0: exit status 1: bad [2J thing; and on") || len(err.Error()) > 600 ||
		strings.ContainsAny(err.Error(), "\n\x1b") || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("%d bytes: %v", len(err.Error()), err)
	}
}
