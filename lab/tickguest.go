package lab

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
)

// tickBootSector is tickguest.S, assembled.
//
//go:embed tickguest.bin
var tickBootSector []byte

// TickGuest describes a domain that boots the tick guest from its first disk.
type TickGuest struct {
	Name string
	UUID string // "" lets libvirt choose
	// Disks are <disk> elements, the boot disk first; FileDisk and BlockDisk
	// write simple ones.
	Disks []string
	// Metadata is the contents of <metadata>, "" for none.
	Metadata string
	// SerialLog is the file that the guest's serial port is added to.
	SerialLog string
	// Serial is a <serial> element to use in place of one for SerialLog.
	Serial string
	// MemoryMiB is 16 if not set.
	MemoryMiB int
}

// XML is the domain's definition. Its machine type is known to the QEMUs of
// Debian 12 and 13.
func (g TickGuest) XML() string {
	memory := g.MemoryMiB
	if memory == 0 {
		memory = 16
	}
	var uuid, metadata string
	if g.UUID != "" {
		uuid = "\n  <uuid>" + g.UUID + "</uuid>"
	}
	if g.Metadata != "" {
		metadata = "\n  <metadata>" + g.Metadata + "</metadata>"
	}
	serial := g.Serial
	if serial == "" {
		serial = fmt.Sprintf(serialFile, g.SerialLog)
	}
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name>%s%s
  <memory unit='MiB'>%d</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type>
  </os>
  <devices>
    %s
    <controller type='usb' model='none'/>
    %s
    <memballoon model='none'/>
  </devices>
</domain>
`, g.Name, uuid, metadata, memory, strings.Join(g.Disks, "\n    "), serial)
}

const serialFile = `<serial type='file'>
      <source path='%s' append='on'/>
    </serial>`

// FileDisk is a virtio disk in a file.
func FileDisk(target, format, path string) string {
	return fmt.Sprintf(`<disk type='file' device='disk'>
      <driver name='qemu' type='%s'/>
      <source file='%s'/>
      <target dev='%s' bus='virtio'/>
    </disk>`, format, path, target)
}

// BlockDisk is a raw virtio disk on a block device.
func BlockDisk(target, path string) string {
	return fmt.Sprintf(`<disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native' discard='unmap'/>
      <source dev='%s'/>
      <target dev='%s' bus='virtio'/>
    </disk>`, path, target)
}

// SerialLog is the file for the serial port of the guest with this name. Every
// host adds to the same file: QEMU hands over each byte before the guest goes
// on, so what a guest says before and after it moves stands there in order.
func (l *Lab) SerialLog(name string) string {
	return filepath.Join(l.serialDir(), name+".log")
}

func (l *Lab) serialDir() string { return filepath.Join(l.dir, "serial") }
