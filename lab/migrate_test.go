package lab_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/labtest"
)

// A device larger than the disk, as arrays round up.
const deviceBytes = tickBytes + 8<<20

// TestMigrationWithCopy moves a guest live from a qcow2 file to a raw block
// device, with libvirt's own means only.
func TestMigrationWithCopy(t *testing.T) {
	migrateWithCopy(t, labtest.Hosts(t, "kvm01", "kvm02"))
}

func TestMigrationToTrixie(t *testing.T) {
	migrateWithCopy(t, labtest.Start(t, lab.Options{Hosts: []lab.HostOptions{
		{Name: "kvm01"}, {Name: "kvm02", Release: labtest.NeedRelease(t, lab.Trixie)},
	}}))
}

func migrateWithCopy(t *testing.T, l *lab.Lab) {
	from, to := l.Host("kvm01"), l.Host("kvm02")
	_, file := startTick(t, l, from, "tick")

	image := to.ImagesDir() + "/volume.raw"
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, deviceBytes); err != nil {
		t.Fatal(err)
	}
	node := run(t, to, "losetup", "--direct-io=on", "--find", "--show", "/var/lib/libvirt/images/volume.raw")
	const link = "/dev/disk/by-id/lab-volume"
	run(t, to, "ln", "-s", node, link)

	begin := time.Now()
	definition := run(t, from, "virsh", "dumpxml", "--migratable", "tick")
	if err := from.WriteFile("/run/dest.xml", []byte(onBlock(t, definition, link)), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, from, "virsh", "migrate", "--live", "--persistent", "--copy-storage-all", "--migrate-disks", "vda",
		"--xml", "/run/dest.xml", "--persistent-xml", "/run/dest.xml", "tick", to.URI())
	t.Logf("migrated in %v", time.Since(begin).Round(time.Millisecond))
	if _, err := lab.WaitMore(t.Context(), l.SerialLog("tick"), 5); err != nil {
		t.Fatal(err)
	}
	if got := run(t, from, "virsh", "list", "--name"); got != "" {
		t.Errorf("still running at the source: %s", got)
	}
	run(t, to, "virsh", "destroy", "tick")

	checkTicks(t, l, "tick", image, "raw")
	source, err := lab.HashUntouched(t.Context(), file, "qcow2", tickBytes)
	if err != nil {
		t.Fatal(err)
	}
	if copied, err := lab.HashUntouched(t.Context(), image, "raw", tickBytes); copied != source || err != nil {
		t.Errorf("the copy's untouched regions have SHA-256 %s, the source's %s (%v)", copied, source, err)
	}
}

// onBlock rewrites the definition's only disk.
func onBlock(t *testing.T, definition, device string) string {
	t.Helper()
	begin := strings.Index(definition, "<disk ")
	end := strings.Index(definition, "<target dev='vda'")
	if begin < 0 || end < 0 {
		t.Fatalf("no disk in %s", definition)
	}
	return definition[:begin] + `<disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native'/>
      <source dev='` + device + `'><slices><slice type='storage' offset='0' size='67108864'/></slices></source>
      ` + definition[end:]
}

func checkTicks(t *testing.T, l *lab.Lab, name, disk, format string) lab.Ticks {
	t.Helper()
	count, err := lab.DiskTick(t.Context(), disk, format)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(l.SerialLog(name))
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := lab.CheckTicks(log, count)
	if err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	return ticks
}
