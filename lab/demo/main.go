// Command demo shows the main job on this machine: a running guest moves from
// a qcow2 file on one KVM host to a volume of a storage array on another, and
// nothing is lost. The hosts are namespaces; libvirtd, QEMU and volbridge are
// real. The array is a stand-in that speaks its REST, and NVMe is played with
// loop devices. It needs root, and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/arrays"
	"github.com/volbridge/volbridge/lab/flasharray"
)

// deadline bounds the whole demo.
const deadline = 3 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("the demo took longer than %s", deadline))
	defer cancel()
	if err := demo(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("run it as root: it makes namespaces and loop devices")
	}
	began := time.Now()
	title("Two KVM hosts, kvm01 and kvm02, with volbridge's hook and command")
	s, err := newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.array.Close(), s.lab.Close(), gone(s.lab.Dir())) }()
	for _, act := range []func() error{s.start, s.plan, s.migrate, s.compare, s.plainVirsh, s.saveAndStop, s.nothingLeft} {
		if err := act(); err != nil {
			return err
		}
	}
	title("Done in %s: the guest moved three times, and nothing was lost", time.Since(began).Round(time.Second))
	return nil
}

// gone fails if this machine still has a mount or a loop device of the lab.
func gone(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return err
	}
	left := string(mounts)
	for _, l := range loops {
		if b, err := os.ReadFile(l); err == nil { // one that goes meanwhile is not ours
			left += string(b)
		}
	}
	if strings.Contains(left, dir+"/") {
		return fmt.Errorf("something of %s is still mounted or attached", dir)
	}
	return nil
}

const (
	guestName  = "web1"
	guestBytes = 100 << 20
	imagePath  = "/var/lib/libvirt/images/web1.qcow2"
	volume     = "web1-vda"
	binaries   = "bin/played" // built for hosts whose NVMe is played
)

// stage is the lab and its guest.
type stage struct {
	ctx      context.Context
	lab      *lab.Lab
	array    *arrays.Running
	one, two *lab.Host
	image    string // the guest's first disk, as this machine sees it
	ticks    lab.Ticks
}

func newStage(ctx context.Context) (*stage, error) {
	hook, err := filepath.Abs(filepath.Join(binaries, "volbridge-hook"))
	if err != nil {
		return nil, err
	}
	command, err := os.ReadFile(filepath.Join(binaries, "volbridge"))
	if err != nil {
		return nil, fmt.Errorf("%w: run `make demo`, which builds it", err)
	}
	host := func(name string) lab.HostOptions {
		return lab.HostOptions{Name: name, HookDir: map[string]string{"50-volbridge": hook},
			Files: map[string]lab.File{"/usr/bin/volbridge": {Data: command, Mode: 0o755}}}
	}
	l, err := lab.Start(ctx, lab.Options{Hosts: []lab.HostOptions{host("kvm01"), host("kvm02")}})
	if err != nil {
		return nil, err
	}
	s := &stage{ctx: ctx, lab: l, one: l.Host("kvm01"), two: l.Host("kvm02")}
	s.image = filepath.Join(s.one.ImagesDir(), filepath.Base(imagePath))
	if err := s.configure(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// configure starts the array and gives both hosts a pool on it.
func (s *stage) configure() (err error) {
	title("A FlashArray (a stand-in) at %s; both hosts know it", lab.BridgeAddress)
	o := arrays.Options{Options: flasharray.Options{Name: "array1", Portals: []string{"10.77.0.2", "10.77.0.3"}}}
	if s.array, err = arrays.Start(s.ctx, s.lab, o); err != nil {
		return err
	}
	config := s.array.PoolConfig("flash")
	fmt.Print(indent("# /etc/volbridge/volbridge.toml on both hosts\n" + config))
	for _, h := range s.lab.Hosts() {
		if err := h.WriteFile("/etc/volbridge/volbridge.toml", []byte(config), 0o600); err != nil {
			return errors.Join(err, s.array.Close())
		}
	}
	return nil
}

// start boots the tick guest from a qcow2 file on kvm01.
func (s *stage) start() error {
	title("A guest starts on kvm01, on a qcow2 file; it counts on its disk, ten times a second")
	if err := lab.WriteTickImage(s.ctx, s.image, "qcow2", guestBytes, 1); err != nil {
		return err
	}
	xml := lab.TickGuest{Name: guestName, Disks: []string{lab.FileDisk("vda", "qcow2", imagePath)}, SerialLog: s.lab.SerialLog(guestName)}.XML()
	if err := s.one.WriteFile("/run/web1.xml", []byte(xml), 0o600); err != nil {
		return err
	}
	if err := s.run(s.one, "virsh", "define", "/run/web1.xml"); err != nil {
		return err
	}
	if err := s.run(s.one, "virsh", "start", guestName); err != nil {
		return err
	}
	return s.alive()
}

func (s *stage) plan() error {
	title("What would a migration into the pool do?")
	return s.run(s.one, "volbridge", "migrate", guestName, s.two.URI(), "--to-pool", "flash", "--dry-run")
}

func (s *stage) migrate() error {
	title("Then do it, while the guest runs")
	// The limit lets one see it move.
	if err := s.run(s.one, "volbridge", "migrate", guestName, s.two.URI(), "--to-pool", "flash", "--bandwidth", "20"); err != nil {
		return err
	}
	xml, err := s.two.Run(s.ctx, "virsh", "dumpxml", guestName)
	if err != nil {
		return err
	}
	fmt.Println("\nIts disk on kvm02 is now:")
	fmt.Print(indent(between(xml, "    <disk ", "</disk>")))
	s.onTheArray()
	return s.alive()
}

// onTheArray shows who may reach the volume, as the array has it.
func (s *stage) onTheArray() {
	fmt.Printf("\nThe array's connections (volume, host): %s\n", strings.Join(s.array.Connections(), ", "))
}

// compare hashes both disks without the sector in which the guest counts.
func (s *stage) compare() error {
	title("Is the copy the same? SHA-256 of everything that the guest never writes")
	before, err := lab.HashUntouched(s.ctx, s.image, "qcow2", guestBytes)
	if err != nil {
		return err
	}
	after, err := lab.HashUntouched(s.ctx, s.raw(), "raw", guestBytes)
	if err != nil {
		return err
	}
	fmt.Printf("  qcow2 file on kvm01:   %s\n  volume on the array:   %s\n", before, after)
	if before != after {
		return errors.New("the copies differ")
	}
	return nil
}

// raw is the file that the array keeps the guest's volume in.
func (s *stage) raw() string {
	v, _ := s.array.Volume(volume)
	return v.File
}

// plainVirsh moves the guest with nothing but libvirt's own command.
func (s *stage) plainVirsh() error {
	title("From now on plain virsh is enough: back to kvm01 and again to kvm02, without a copy")
	if err := s.run(s.two, "virsh", "migrate", "--live", "--persistent", guestName, s.one.URI()); err != nil {
		return err
	}
	if err := s.alive(); err != nil {
		return err
	}
	s.onTheArray()
	if err := s.run(s.one, "virsh", "migrate", "--live", guestName, s.two.URI()); err != nil {
		return err
	}
	s.onTheArray()
	return s.alive()
}

// saveAndStop saves, restores and ends the guest, and checks its counter
// against what is on the disk.
func (s *stage) saveAndStop() error {
	title("Save, start again, and stop")
	for _, verb := range []string{"managedsave", "start"} {
		if err := s.run(s.two, "virsh", verb, guestName); err != nil {
			return err
		}
	}
	if err := s.alive(); err != nil {
		return err
	}
	if err := s.run(s.two, "virsh", "destroy", guestName); err != nil {
		return err
	}
	log, err := os.ReadFile(s.lab.SerialLog(guestName))
	if err != nil {
		return err
	}
	disk, err := lab.DiskTick(s.ctx, s.raw(), "raw")
	if err != nil {
		return err
	}
	ticks, err := lab.CheckTicks(log, disk)
	if err != nil {
		return err
	}
	fmt.Printf("  the guest wrote %d values; the last that it printed is %d, its disk has %d;\n  none is missing, and none went back\n", ticks.Count, ticks.Last, disk)
	return nil
}

func (s *stage) nothingLeft() error {
	title("Is anything left on the hosts?")
	for _, h := range s.lab.Hosts() {
		if err := s.run(h, "volbridge", "recover", "--dry-run"); err != nil {
			return err
		}
		for _, where := range []string{"/dev/nvme*n*", "/dev/disk/by-id/*"} {
			left, err := filepath.Glob(h.Path(where))
			if err != nil {
				return err
			}
			if len(left) > 0 {
				return fmt.Errorf("left on %s: %v", h.Name(), left)
			}
		}
	}
	v, _ := s.array.Volume(volume)
	if len(v.Hosts)+len(v.Groups) > 0 {
		return fmt.Errorf("volume %s is still connected to %v %v", v.Name, v.Hosts, v.Groups)
	}
	for tag := range v.Tags {
		if strings.HasPrefix(tag, "volbridge/h.") {
			return fmt.Errorf("volume %s is still held: %s", v.Name, tag)
		}
	}
	fmt.Println("  no device, no link, no record; on the array no connection and no holder")
	return nil
}

// run shows and runs a command on a host, with this terminal.
func (s *stage) run(h *lab.Host, name string, args ...string) error {
	fmt.Printf("\n%s %s %s\n", bold(h.Name()+"#"), name, strings.Join(args, " "))
	c := h.Command(s.ctx, name, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %s %s: %w", h.Name(), name, strings.Join(args, " "), err)
	}
	return nil
}

// alive waits until the guest has counted on, and checks all that it has said.
func (s *stage) alive() error {
	ticks, err := lab.WaitMore(s.ctx, s.lab.SerialLog(guestName), 10)
	if err != nil {
		return err
	}
	fmt.Printf("  the guest counts on: %d → %d\n", s.ticks.Last, ticks.Last)
	s.ticks = ticks
	return nil
}

func title(format string, args ...any) {
	fmt.Printf("\n%s\n", bold("== "+fmt.Sprintf(format, args...)))
}

// bold marks text on a terminal.
func bold(s string) string {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return "\x1b[1m" + s + "\x1b[0m"
	}
	return s
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ") + "\n"
}

// between returns the first part of s from start to end, both included.
func between(s, start, end string) string {
	_, s, _ = strings.Cut(s, start)
	s, _, _ = strings.Cut(s, end)
	return start + s + end
}
