package blockdev

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
)

// udevWrites stands for udev's record of a device, which is made anew each
// time.
func (f *fakeNVMe) udevWrites(number string) {
	f.t.Helper()
	record := f.h.Run + "/udev/data/b" + number
	write(f.t, f.h.Run+"/udev/new", "I:1\n")
	f.must(os.Rename(f.h.Run+"/udev/new", record))
}

// withUUID is the wanted namespace, for which udev has made a link by UUID
// only. Its node is not that of a device, so it has no number in this test.
func (f *fakeNVMe) withUUID() {
	f.t.Helper()
	f.controller(portalA, testHostNQN, "live")
	f.namespace("nvme0n1", 1, testNGUID, mib)
	f.set(f.dirOf("nvme0n1"), "uuid", "6e64eccb-994d-4384-9d49-8780aeec9ad1")
	f.udevWrites("")
}

// awaitPush returns once udev was asked to look at the namespace again.
func (f *fakeNVMe) awaitPush() {
	w, err := newWatcher()
	f.must(err)
	defer w.close()
	f.must(w.add(f.dirOf("nvme0n1"), closing))
	for {
		text, err := os.ReadFile(f.dirOf("nvme0n1") + "/uevent")
		f.must(err)
		if strings.HasPrefix(string(text), "change") {
			return
		}
		f.must(w.next(f.t.Context()))
	}
}

func TestNVMeRuleCameAfterTheDevice(t *testing.T) {
	f := newFakeNVMe(t)
	f.withUUID()
	f.kernel.Go(func() {
		f.awaitPush()
		f.link("nvme0n1")
		f.udevWrites("")
	})
	if _, err := f.transport().Attach(t.Context(), f.connection(portalA)); err != nil {
		t.Error(err)
	}
}

func TestNVMeRuleIsMissing(t *testing.T) {
	f := newFakeNVMe(t)
	f.withUUID()
	write(t, f.h.Run+"/udev/queue", "")
	c := f.connection(portalA)
	if _, err := f.transport().Find(t.Context(), c); !errors.Is(err, ErrNotAttached) {
		t.Errorf("found: %v", err)
	}
	f.kernel.Go(func() {
		f.must(os.Remove(f.h.Run + "/udev/queue"))
		f.awaitPush()
		f.udevWrites("")
	})
	_, err := f.transport().Attach(t.Context(), c)
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "needs the rule "+udevRule) ||
		!strings.Contains(err.Error(), "udevadm control --reload") {
		t.Errorf("%v", err)
	}
}

func TestNVMeWithoutUdev(t *testing.T) {
	f := newFakeNVMe(t)
	f.controller(portalA, testHostNQN, "live")
	f.namespace("nvme0n1", 1, testNGUID, mib)
	_, err := f.transport().Attach(briefly(t), f.connection(portalA))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "systemd-udevd") || !strings.Contains(err.Error(), "waited ") {
		t.Errorf("%v", err)
	}
}

func TestUeventsOfNVMe(t *testing.T) {
	kernel := func(fields ...string) []byte { return []byte(strings.Join(fields, "\x00") + "\x00") }
	udev := func(message []byte) []byte {
		header := append([]byte("libudev\x00"), make([]byte, 32)...)
		binary.NativeEndian.PutUint32(header[16:], uint32(len(header)))
		header[39] = 'x' // a hash runs into the properties
		return append(header, message...)
	}
	for name, c := range map[string]struct {
		message []byte
		want    bool
	}{
		"namespace":      {kernel("add@/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "DEVPATH=/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "SUBSYSTEM=block"), true},
		"controller":     {kernel("change@/devices/virtual/nvme-fabrics/ctl/nvme0", "SUBSYSTEM=nvme", "NVME_EVENT=connected"), true},
		"loop device":    {kernel("change@/devices/virtual/block/loop0", "DEVPATH=/devices/virtual/block/loop0", "SUBSYSTEM=block"), false},
		"in its path":    {kernel("x", "DEVPATH=/devices/nvme/loop0", "SUBSYSTEM=block"), false},
		"network":        {kernel("add@/x", "DEVPATH=/devices/nvme0n1", "SUBSYSTEM=net"), false},
		"empty":          {nil, false},
		"udev's":         {udev(kernel("SUBSYSTEM=nvme", "ACTION=change")), true},
		"udev's of loop": {udev(kernel("SUBSYSTEM=block", "DEVPATH=/devices/virtual/block/loop0")), false},
	} {
		if got := concernsNVMe(c.message); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzUevent(f *testing.F) {
	f.Add([]byte("add@/x\x00SUBSYSTEM=block\x00DEVPATH=/devices/nvme0n1\x00"))
	f.Add([]byte("libudev\x00\xfe\xed\xca\xfe(\x00\x00\x00(\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, message []byte) {
		if concernsNVMe(message) && !bytes.Contains(message, []byte("nvme")) {
			t.Errorf("%q concerns NVMe", message)
		}
	})
}
