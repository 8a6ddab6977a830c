package lab_test

import (
	"testing"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/labtest"
)

func TestGuestOutlivesDaemon(t *testing.T) {
	l := labtest.Hosts(t, "kvm01")
	h := l.Host("kvm01")
	startTick(t, l, h, "tick")
	for _, how := range []struct {
		name string
		do   func() error
	}{
		{"restart", func() error { return h.RestartDaemon(t.Context()) }},
		{"kill and start", func() error {
			if err := h.KillDaemon(t.Context()); err != nil {
				return err
			}
			if _, err := h.Run(t.Context(), "virsh", "list"); err == nil {
				t.Error("the killed daemon answers")
			}
			return h.StartDaemon(t.Context())
		}},
	} {
		if err := how.do(); err != nil {
			t.Fatalf("%s: %v", how.name, err)
		}
		if got := run(t, h, "virsh", "list", "--name"); got != "tick" {
			t.Errorf("after %s there runs %q", how.name, got)
		}
		if _, err := lab.WaitMore(t.Context(), l.SerialLog("tick"), 3); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashAndBoot cuts the power under a guest and two loop devices; the other
// host, which has a device on the same file, must not notice.
func TestCrashAndBoot(t *testing.T) {
	l := labtest.Hosts(t, "kvm01", "kvm02")
	h, other := l.Host("kvm01"), l.Host("kvm02")
	_, file := startTick(t, l, h, "tick")
	shared := l.SharedDir() + "/volume"
	run(t, h, "truncate", "-s", "1M", shared, "/var/lib/libvirt/images/own")
	bindLoop(t, h, shared)
	bindLoop(t, h, "/var/lib/libvirt/images/own")
	kept := bindLoop(t, other, shared)
	run(t, h, "ln", "-s", kept, "/dev/disk/by-id/x")
	bootID := run(t, h, "cat", "/proc/sys/kernel/random/boot_id")

	if err := h.Crash(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := loopsOf(t, l); len(left) != 1 || left[0].Node != kept {
		t.Errorf("after the crash these loop devices are bound: %+v, want %s alone", left, kept)
	}
	if err := h.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if run(t, h, "cat", "/proc/sys/kernel/random/boot_id") == bootID {
		t.Error("the boot id is the old one")
	}
	run(t, h, "test", "!", "-e", "/dev/disk/by-id/x")
	if got := run(t, h, "virsh", "list", "--all", "--name"); got != "tick" {
		t.Errorf("after the boot the defined domains are %q", got)
	}
	if got := run(t, other, "virsh", "-c", h.URI(), "list", "--name"); got != "" {
		t.Errorf("after the boot there runs %q", got)
	}
	// The guest finds on its disk what it had been told was written.
	run(t, h, "virsh", "start", "tick")
	if _, err := lab.WaitMore(t.Context(), l.SerialLog("tick"), 3); err != nil {
		t.Fatal(err)
	}
	run(t, h, "virsh", "destroy", "tick")
	if ticks := checkTicks(t, l, "tick", file, "qcow2"); ticks.Boots != 2 {
		t.Errorf("the guest has booted %d times, want 2", ticks.Boots)
	}
}

func TestSaveAndRestore(t *testing.T) {
	l := labtest.Hosts(t, "kvm01")
	h := l.Host("kvm01")
	_, file := startTick(t, l, h, "tick")
	run(t, h, "virsh", "managedsave", "tick")
	run(t, h, "virsh", "start", "tick")
	if _, err := lab.WaitMore(t.Context(), l.SerialLog("tick"), 3); err != nil {
		t.Fatal(err)
	}
	run(t, h, "virsh", "destroy", "tick")
	if ticks := checkTicks(t, l, "tick", file, "qcow2"); ticks.Boots != 1 {
		t.Errorf("the guest has booted %d times, want 1", ticks.Boots)
	}
}
