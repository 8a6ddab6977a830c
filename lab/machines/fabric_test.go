//go:build machines

package machines_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/machinestest"
	"github.com/volbridge/volbridge/lab/machines/nvmet"
)

// Both volumes have the form of the array's NGUIDs.
const (
	nguid      = "009714b5cb91634c24a937470002b2c8"
	otherNGUID = "008726b5033af24324a9373d00014196"
	imageBytes = 16 << 20
)

// fabric is an array and two KVM hosts that are connected to both portals.
type fabric struct {
	*machines.Lab
	t     *testing.T
	since time.Time
	array nvmet.Array
}

func startFabric(t *testing.T) *fabric {
	f := &fabric{t: t, since: time.Now()}
	hosts := func(name string) machines.Machine {
		return machines.Machine{Name: name, KVM: true, Files: map[string]lab.File{
			"/etc/nvme/hostnqn": {Data: []byte(hostNQN(name) + "\n")},
		}}
	}
	f.Lab = machinestest.Start(t, machines.Options{Machines: []machines.Machine{{Name: "array"}, hosts("kvm01"), hosts("kvm02")}})
	f.phase("boot of three machines")
	f.array = nvmet.Array{NQN: "nqn.2010-06.com.purestorage:flasharray.lab", Model: "Pure Storage FlashArray", Portals: f.Node("array").Portals()}
	for _, name := range []string{"kvm01", "kvm02"} {
		f.target(nvmet.Order{Do: nvmet.AddHost, Host: hostNQN(name)})
		f.connect(name)
	}
	f.phase("target and connections")
	return f
}

func hostNQN(name string) string { return "nqn.2014-08.org.nvmexpress:uuid:lab-" + name }

func (f *fabric) phase(what string) {
	f.t.Helper()
	f.t.Logf("phase: %s: %.1f s", what, time.Since(f.since).Seconds())
	f.since = time.Now()
}

// inTime gives a step of a test its deadline, which only ends what hangs.
func (f *fabric) inTime() context.Context {
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Minute)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *fabric) sh(name, script string, args ...string) string {
	f.t.Helper()
	out, err := f.Node(name).Shell(f.inTime(), script, args...)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *fabric) target(orders ...nvmet.Order) {
	f.t.Helper()
	if err := f.Node("array").Target(f.inTime(), f.array, orders...); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fabric) connect(name string) {
	f.t.Helper()
	f.sh(name, `modprobe nvme-tcp
		for portal in "$2" "$3"; do
			nvme connect -t tcp -a "$portal" -s 4420 -n "$1" --keep-alive-tmo=5 --reconnect-delay=2 --ctrl-loss-tmo=600
		done`,
		f.array.SubsystemNQN(hostNQN(name)), f.Node("array").Portal(1), f.Node("array").Portal(2))
}

// volume puts a tick image on the array and returns its loop device.
func (f *fabric) volume(name string, seed int64) string {
	f.t.Helper()
	local, remote := filepath.Join(f.t.TempDir(), name), "/var/lib/array/"+name
	if err := lab.WriteTickImage(f.t.Context(), local, "raw", imageBytes, seed); err != nil {
		f.t.Fatal(err)
	}
	if err := f.Node("array").Copy(f.inTime(), local, remote, 0o600); err != nil {
		f.t.Fatal(err)
	}
	device := f.sh("array", `modprobe loop; losetup --find --show --direct-io=on "$1"`, remote)
	return device[:len(device)-1]
}

func link(nguid string) string { return "/dev/disk/by-id/nvme-eui." + nguid }

func (f *fabric) appears(name, path string) {
	f.t.Helper()
	f.sh(name, `udevadm wait --timeout=300 "$1"`, path)
}

func (f *fabric) goes(name, path string) {
	f.t.Helper()
	f.sh(name, `udevadm wait --timeout=300 --removed "$1"`, path)
}

// guest starts the tick guest and returns the log of its serial port.
func (f *fabric) guest(name, disk string) string {
	f.t.Helper()
	serial, log, err := f.Serial("tick")
	if err != nil {
		f.t.Fatal(err)
	}
	xml := lab.TickGuest{Name: "tick", Disks: []string{lab.BlockDisk("vda", disk)}, Serial: serial}.XML()
	if err := f.Node(name).WriteFile(f.t.Context(), "/root/tick.xml", []byte(xml), 0o644); err != nil {
		f.t.Fatal(err)
	}
	f.sh(name, "virsh define /root/tick.xml && virsh start tick")
	return log
}

func (f *fabric) ticks(log string, n int) {
	f.t.Helper()
	if _, err := lab.WaitMore(f.inTime(), log, n); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fabric) try(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fabric) deaf(name string) {
	f.t.Helper()
	f.try(f.Node(name).MaskEvents(f.inTime()))
}
func (f *fabric) rescan(name string) { f.t.Helper(); f.try(f.Node(name).Rescan(f.inTime())) }

// hears undoes deaf: a controller that connects anew listens.
func (f *fabric) hears(name string) {
	f.t.Helper()
	f.sh(name, `for c in /sys/class/nvme/nvme*; do echo 1 >"$c/reset_controller"; done`)
}

func (f *fabric) links(name string) string {
	f.t.Helper()
	return f.sh(name, "udevadm settle; ls /dev/disk/by-id 2>/dev/null || true")
}

func (f *fabric) content(name, path string) string {
	f.t.Helper()
	return f.sh(name, `dd if="$1" bs=1M count=4 skip=1 iflag=direct status=none | sha256sum`, path)
}

// cut cuts a portal off and returns when the machine has noticed.
func (f *fabric) cut(name string, portal int) {
	f.t.Helper()
	f.kernelSays(name, "Reconnecting in", func() { f.try(f.Node(name).CutLink(f.t.Context(), portal)) })
}

// join lets the machine reach the portal again and returns when it does.
func (f *fabric) join(name string, portal int) {
	f.t.Helper()
	f.kernelSays(name, "Successfully reconnected", func() { f.try(f.Node(name).JoinLink(f.t.Context(), portal)) })
}

// kernelSays returns when the machine's kernel has said something since do.
func (f *fabric) kernelSays(name, what string, do func()) {
	f.t.Helper()
	cursor := f.sh(name, `journalctl --dmesg --lines=1 --show-cursor | sed -n 's/^-- cursor: //p' | tr -d '\n'`)
	do()
	f.sh(name, `timeout 300 journalctl --dmesg --follow --after-cursor="$1" | grep --quiet --max-count=1 "$2"`, cursor, what)
}
