package hostinit

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// loopNodes is how many loop devices a host can name. The kernel makes nodes
// only in the machine's /dev, so the host's own gets them beforehand; a node
// without a device does no harm.
const loopNodes = 1024

// There is no kvm: guests are emulated, everywhere alike.
var characterNodes = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9},
	{"tty", 5, 0}, {"loop-control", 10, 237}, {"net/tun", 10, 200},
}

// makeDev builds a /dev of the host's own, so that its links show on no other
// host and not on the machine.
func makeDev(dev string) error {
	if err := mountNew("tmpfs", dev, "mode=755"); err != nil {
		return err
	}
	if err := mkdirs(0o755, filepath.Join(dev, "disk/by-id"), filepath.Join(dev, "net")); err != nil {
		return err
	}
	for _, n := range characterNodes {
		if err := node(filepath.Join(dev, n.name), unix.S_IFCHR|0o666, n.major, n.minor); err != nil {
			return err
		}
	}
	for i := range uint32(loopNodes) {
		if err := node(fmt.Sprintf("%s/loop%d", dev, i), unix.S_IFBLK|0o660, 7, i); err != nil {
			return err
		}
	}
	if err := mountNew("devpts", filepath.Join(dev, "pts"), "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return err
	}
	if err := mountNew("tmpfs", filepath.Join(dev, "shm"), "mode=1777"); err != nil {
		return err
	}
	return devLinks(dev)
}

func mountNew(kind, at, options string) error {
	if err := mkdirs(0o755, at); err != nil {
		return err
	}
	if err := unix.Mount(kind, at, kind, unix.MS_NOSUID, options); err != nil {
		return fmt.Errorf("mount %s: %w", at, err)
	}
	return nil
}

func node(path string, mode, major, minor uint32) error {
	if err := unix.Mknod(path, mode, int(unix.Mkdev(major, minor))); err != nil {
		return fmt.Errorf("make node %s: %w", path, err)
	}
	return nil
}

func devLinks(dev string) error {
	for name, target := range map[string]string{
		"ptmx":   "pts/ptmx",
		"fd":     "/proc/self/fd",
		"stdin":  "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}
