package machines

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/volbridge/volbridge/lab/machines/internal/keeper"
	"github.com/volbridge/volbridge/lab/machines/internal/pidfd"
)

const defaultMemoryMiB = 1536

func (l *Lab) newNode(index int, m Machine) *Node {
	if m.MemoryMiB == 0 {
		m.MemoryMiB = defaultMemoryMiB
	}
	return &Node{
		lab: l, index: index, name: m.Name, spec: m, uuid: newUUID(),
		dir:    filepath.Join(l.dir, m.Name),
		logDir: filepath.Join(l.logDir, m.Name),
	}
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (n *Node) tap(network int) string { return fmt.Sprintf("tap%d.%d", n.index, network) }
func (n *Node) disk() string           { return filepath.Join(n.dir, "disk.qcow2") }
func (n *Node) initramfs() string      { return filepath.Join(n.dir, "initramfs") }

// prepare makes the machine's disk. A layer over the image costs nothing, and
// keeps what a guest has flushed when its QEMU is killed.
func (n *Node) prepare(ctx context.Context) error {
	for _, dir := range []string{n.dir, n.logDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
		"-b", filepath.Join(n.lab.image, imageDisk), n.disk()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("qemu-img create: %w: %s", err, out)
	}
	return nil
}

// Boot switches the machine on and returns when it can run programs; a KVM
// host when libvirtd answers.
func (n *Node) Boot(ctx context.Context) error {
	if err := n.boot(ctx); err != nil {
		return errors.Join(fmt.Errorf("boot %s: %w", n.name, err), n.PowerOff(context.WithoutCancel(ctx)))
	}
	n.lab.say("%s is up (process %d)", n.name, n.pid)
	if !n.spec.KVM {
		return nil
	}
	// It is being started already; this waits for it.
	if _, err := n.Run(ctx, "systemctl", "start", "libvirtd.service"); err != nil {
		return err
	}
	_, err := n.Run(ctx, "virsh", "--connect", "qemu:///system", "uri")
	n.lab.say("%s: libvirtd answers", n.name)
	return err
}

func (n *Node) boot(ctx context.Context) error {
	if n.pid != 0 {
		select {
		case <-n.gone: // by itself; somebody has to see to it
			if err := n.PowerOff(ctx); err != nil {
				return err
			}
		default:
			return errors.New("it is on already")
		}
	}
	word := n.name + "-" + newUUID()
	if err := n.writeInitramfs(word); err != nil {
		return err
	}
	greeted := n.lab.greetings.expect(word)
	r, err := n.lab.ask(ctx, keeper.Request{
		Op: keeper.Boot, Name: n.name, Argv: n.qemu(), Log: filepath.Join(n.logDir, "qemu.log"),
	})
	if err != nil {
		return err
	}
	if n.gone, err = pidfd.Watch(r.PID); err != nil {
		return fmt.Errorf("%w; its QEMU said:\n%s", err, tail(filepath.Join(n.logDir, "qemu.log")))
	}
	select {
	case <-greeted:
		n.pid = r.PID
		return nil
	case <-n.gone:
		r, err := n.lab.ask(ctx, keeper.Request{Op: keeper.Kill, Name: n.name})
		return errors.Join(fmt.Errorf("it ended (%s); its console and QEMU said:\n%s\n%s",
			r.Ended, tail(n.console()), tail(filepath.Join(n.logDir, "qemu.log"))), err)
	case <-ctx.Done():
		return fmt.Errorf("%w; the end of its console:\n%s", ctx.Err(), tail(n.console()))
	}
}

const tailBytes = 2000

func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-tailBytes):])
}

// qemu is the machine's hardware. It has one processor. QEMU before 8.2 dies now and
// then when one CPU changes the memory map, as finding PCI devices does, while
// another one writes to a device ("softmmu: Use async_run_on_cpu in tcg_commit" ended
// that); and where more CPUs are emulated than there are, those that run wait for
// locks of those that do not. Its disk needs no flushing: nobody cuts the
// power of the machine that the emulator runs on.
func (n *Node) qemu() []string {
	argv := []string{
		"qemu-system-x86_64", "-name", n.name, "-uuid", n.uuid,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", "tcg", "-cpu", "max,la57=off,svm=off",
		"-m", fmt.Sprint(n.spec.MemoryMiB),
		"-kernel", filepath.Join(n.lab.image, imageKernel), "-initrd", n.initramfs(), "-append", n.kernelCommandLine(),
		"-drive", "if=virtio,format=qcow2,cache=unsafe,discard=unmap,file=" + n.disk(),
		"-chardev", "file,id=console,append=on,path=" + n.console(), "-serial", "chardev:console",
		"-device", "virtio-serial", "-chardev", "file,id=journal,append=on,path=" + n.journal(),
		"-device", "virtserialport,chardev=journal,name=journal",
		"-device", "virtio-rng-pci",
	}
	for network := range networks {
		argv = append(argv,
			"-netdev", fmt.Sprintf("tap,id=net%d,ifname=%s,script=no,downscript=no", network, n.tap(network)),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=net%d,romfile=,mac=52:54:00:78:%02x:%02x", network, network, n.index))
	}
	return argv
}

func (n *Node) kernelCommandLine() string {
	words := []string{
		"console=ttyS0", "loglevel=5", "panic=-1", "mitigations=off", "net.ifnames=0",
		"systemd.hostname=" + n.name, "systemd.show_status=no",
	}
	if n.spec.KVM {
		words = append(words, "systemd.wants=libvirtd.service")
	}
	if !n.spec.AppArmor {
		words = append(words, "apparmor=0")
	}
	return strings.Join(words, " ")
}
