package blockdev

import (
	"fmt"
	"os"
	"path/filepath"
)

// udevRule is the rule that gives a namespace with NGUID and UUID its
// nvme-eui link. The kernel makes the UUID its name (wwid), and udev's own
// rules make a link for that name only.
const udevRule = "60-volbridge.rules"

// udevPush deals with a namespace whose stable path does not appear. udev owns
// /dev/disk: a link of ours there would stay after the device, and lead to
// whatever the kernel puts at its node next. So udev is asked to look at the
// device once more, which helps where the rule came after the device, and if
// it then still makes no link, the rule is missing.
type udevPush struct {
	watching bool // its files are to be watched: it does not say when it has nothing more to do
	asked    bool
	before   os.FileInfo // udev's record of the device when it was asked
}

// udevMark is what udev has said of a device: read before its link is looked
// at, since udev writes it after making the link.
type udevMark struct {
	record os.FileInfo // nil: udev has not handled the device
	busy   bool        // udev is at work, perhaps on this device
}

func (t nvme) udevMark(found []nvmeNamespace) udevMark {
	if len(found) == 0 {
		return udevMark{}
	}
	_, err := os.Lstat(filepath.Join(t.host.Run, "udev/queue"))
	record, _ := os.Stat(filepath.Join(t.host.Run, "udev/data/b"+found[0].number))
	return udevMark{record: record, busy: err == nil}
}

// push is called when the namespace is there and its link is not.
func (p *udevPush) push(t nvme, n nvmeNamespace, mark udevMark, c Connection) error {
	missing := &unsettled{missing: fmt.Sprintf("the namespace is %s, and udev has not made its link %s; "+
		"is systemd-udevd running, and is there a rule %s for a namespace that has a UUID too?", n.node, c.Path, udevRule)}
	p.watching = p.watching || mark.record != nil || !udevSpeaksHere(t.host)
	switch {
	case mark.record == nil || mark.busy:
		return missing
	case !p.asked:
		p.asked, p.before = true, mark.record
		if err := writeAttribute(filepath.Join(n.dir, "uevent"), "change"); err != nil && !vanished(err) {
			return fmt.Errorf("%s; asking udev to look again: %w", missing.missing, err)
		}
		return missing
	case os.SameFile(p.before, mark.record) && p.before.ModTime().Equal(mark.record.ModTime()):
		return missing
	}
	return fmt.Errorf("the namespace is %s, but udev makes no link %s for it: a namespace with a UUID needs the rule %s of the package volbridge; "+
		"install it in /usr/lib/udev/rules.d or /etc/udev/rules.d and run: udevadm control --reload && udevadm trigger --subsystem-match=block",
		n.node, c.Path, udevRule)
}
