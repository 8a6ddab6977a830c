package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/volbridge/volbridge/hooks"
	"github.com/volbridge/volbridge/migrate"
)

// Probe asks the volbridge on the daemon's host whether it can serve the
// pools. There is no agent to ask, but there is its hook: libvirt is told to
// start a domain that cannot start, because its only disk does not exist, and
// the hook answers in the error. Nothing runs, nothing is stored.
func (d *Daemon) Probe(ctx context.Context, like migrate.Guest, pools []string) error {
	xml, err := probeXML(like, pools)
	if err != nil {
		return err
	}
	_, err = within(ctx, func() (struct{}, error) {
		dom, err := d.conn.DomainCreateXML(xml, libvirt.DOMAIN_START_PAUSED|libvirt.DOMAIN_START_AUTODESTROY)
		if err == nil {
			err = errors.Join(fmt.Errorf("volbridge's probe domain started on %s, which it never should: see that it is gone (\"virsh list --all\"), and run \"volbridge doctor\" there", d.uri), plain(dom.Destroy()), plain(dom.Free()))
			return struct{}{}, err
		}
		return struct{}{}, d.probeAnswer(plain(err))
	})
	return err
}

// probeAnswer reads the hook's answer out of libvirt's error.
func (d *Daemon) probeAnswer(err error) error {
	answer, ok := hooks.ParseProbe(err.Error())
	switch {
	case !ok:
		return fmt.Errorf("volbridge's hook on %s did not answer: install volbridge there; if it is, the daemon was started before its first hook: type \"systemctl reload libvirtd\" (or virtqemud) there (%w)", d.uri, err)
	case answer.Refused != "":
		return errors.New(answer.Refused)
	}
	return nil
}

// probeXML is the smallest domain that the destination accepts if it accepts
// the guest: same type, architecture and machine.
func probeXML(like migrate.Guest, pools []string) (string, error) {
	var g libvirtxml.Domain
	if err := g.Unmarshal(like.LiveXML); err != nil {
		return "", fmt.Errorf("read the definition of domain %s: %w", like.Name, err)
	}
	if g.OS == nil || g.OS.Type == nil {
		return "", fmt.Errorf("the definition of domain %s has no <os><type>", like.Name)
	}
	suffix := make([]byte, 6)
	if _, err := rand.Read(suffix); err != nil {
		return "", err
	}
	p := libvirtxml.Domain{
		Type:   g.Type,
		Name:   "volbridge-probe-" + hex.EncodeToString(suffix),
		Memory: &libvirtxml.DomainMemory{Value: 16, Unit: "MiB"},
		OS:     &libvirtxml.DomainOS{Type: g.OS.Type},
		Devices: &libvirtxml.DomainDeviceList{
			Disks: []libvirtxml.DomainDisk{{
				Device: "disk",
				Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
				Source: &libvirtxml.DomainDiskSource{Block: &libvirtxml.DomainDiskSourceBlock{Dev: hooks.ProbePath(pools)}},
				Target: &libvirtxml.DomainDiskTarget{Dev: "vda", Bus: "virtio"},
			}},
		},
	}
	return p.Marshal()
}
