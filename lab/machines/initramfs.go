package machines

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/volbridge/volbridge/lab/machines/internal/cpio"
)

const agentUnit = `[Unit]
Description=Runs programs for the lab
After=dbus.socket libvirtd.socket systemd-udevd.service

[Service]
ExecStart=/run/lab/machines agent %s %s
KillMode=process
OOMScoreAdjust=-1000
Environment=HOME=/root LANG=C.UTF-8
StandardOutput=journal
`

// The port takes what the journal says out of the machine at once, so that it
// is there after a power cut.
const journalUnit = `[Unit]
Description=Sends the journal to the lab
DefaultDependencies=no
After=systemd-journald.socket dev-virtio\x2dports-journal.device
Wants=dev-virtio\x2dports-journal.device

[Service]
ExecStart=/bin/sh -c 'exec journalctl --boot --follow --lines=all --output=short-precise --no-hostname >/dev/virtio-ports/journal'
`

// writeInitramfs puts the lab's part behind the image's initramfs.
func (n *Node) writeInitramfs(word string) error {
	image, err := os.Open(filepath.Join(n.lab.image, imageInitramfs))
	if err != nil {
		return err
	}
	defer image.Close()
	program, err := os.ReadFile(n.lab.program)
	if err != nil {
		return err
	}
	out, err := os.Create(n.initramfs())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, image)
	return errors.Join(err, cpio.Write(out, n.labFiles(program, word)), out.Close())
}

// labFiles are the lab's part of the initramfs: what becomes /run at each
// boot, what is copied to the root file system at the first one, and how to
// set the network.
func (n *Node) labFiles(program []byte, word string) map[string]cpio.Entry {
	report := fmt.Sprintf("%s:%d", address(0, bridgeHost), greetingsPort)
	entries := map[string]cpio.Entry{
		"lab/network":                                regular(n.networkScript(), 0o644),
		"lab/run/lab/machines":                       {Mode: 0o755, Data: program},
		"lab/run/systemd/system/lab-agent.service":   regular(fmt.Sprintf(agentUnit, report, word), 0o644),
		"lab/run/systemd/system/lab-journal.service": regular(journalUnit, 0o644),
		"lab/root/etc/hosts":                         {Mode: 0o644, Data: n.lab.hostsTable()},
		"lab/root/etc/hostname":                      regular(n.name+"\n", 0o644),
		"lab/root/etc/machine-id":                    regular(strings.ReplaceAll(n.uuid, "-", "")+"\n", 0o444),
	}
	for _, unit := range []string{"lab-agent.service", "lab-journal.service"} {
		entries["lab/run/systemd/system/multi-user.target.wants/"+unit] = cpio.Entry{Mode: fs.ModeSymlink, Data: []byte("../" + unit)}
	}
	for path, f := range n.spec.Files {
		mode := f.Mode
		if mode == 0 {
			mode = 0o644
		}
		entries["lab/root"+path] = cpio.Entry{Mode: mode, Data: f.Data}
	}
	return entries
}

func regular(text string, mode fs.FileMode) cpio.Entry {
	return cpio.Entry{Mode: mode, Data: []byte(text)}
}

func (n *Node) networkScript() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "ip link set lo up\n")
	for network := range networks {
		fmt.Fprintf(&b, "ip addr add %s/24 dev eth%d && ip link set eth%d up\n", address(network, firstHost+n.index), network, network)
	}
	return b.String()
}
