package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/internal/lazyregexp"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool/flasharray"
)

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

const (
	ruleName = "60-volbridge.rules"
	// ownRules of the administrator hide shipped ones of the same name.
	ownRules = "/etc/udev/rules.d/" + ruleName
)

func checkUdev(_ context.Context, e *Env) []Finding {
	if !e.needs("flasharray", "linstor", "drbd") {
		return nil
	}
	if !e.exists("/run/udev/control") {
		f := Finding{Level: Fail, Seen: "udev does not run: the paths of volumes do not appear", Remedy: "start it"}
		if e.systemd() {
			f.Commands = []string{"systemctl start systemd-udevd"}
		}
		return []Finding{f}
	}
	if !e.needs("flasharray") {
		return nil
	}
	if info, err := os.Lstat(e.Path(ownRules)); err == nil && (e.resolve(ownRules) == "/dev/null" || info.Mode().IsRegular() && info.Size() == 0) {
		return []Finding{{Level: Fail, Seen: ownRules + " switches the rule of volbridge off", Remedy: "remove it", Commands: []string{"rm " + ownRules, "udevadm control --reload"}}}
	}
	if e.anyOf(ownRules, "/run/udev/rules.d/"+ruleName, "/usr/lib/udev/rules.d/"+ruleName, "/lib/udev/rules.d/"+ruleName) {
		return nil
	}
	return []Finding{{Level: Fail, Seen: "the udev rule " + ruleName + " is not installed: a volume with a UUID has no path", Remedy: "install the package again, which has it as /usr/lib/udev/rules.d/" + ruleName,
		Commands: []string{e.install("--reinstall volbridge", "volbridge")}}}
}

// attachments are the records of this host, if they can be trusted.
func (e *Env) attachments(ctx context.Context) ([]state.Attachment, bool) {
	if len(e.stateFindings(ctx)) > 0 || !e.exists(e.Config.StatePath()) {
		return nil, false
	}
	defer waiting(ctx, "the records in "+e.Config.StatePath())()
	all, err := once(ctx, e, "attachments", askTime, e.Attachments)
	return all, err == nil
}

func checkLinks(ctx context.Context, e *Env) (out []Finding) {
	all, _ := e.attachments(ctx)
	for _, a := range all {
		if a.Phase != state.Held || a.Path == "" || e.exists(a.Path) {
			continue
		}
		f := Finding{Level: Fail, Seen: fmt.Sprintf("volume %s/%s of domain %s is attached, but %s is not there: the guest runs on, but would not start again",
			a.Pool, a.Volume, a.DomainName, a.Path)}
		node := e.loopOf(a)
		switch {
		case strings.HasPrefix(a.Path, "/dev/volbridge/") && node != "":
			f.Remedy = "put the link back"
			f.Commands = []string{"mkdir -p " + quote(filepath.Dir(a.Path)), "ln -s " + node + " " + quote(a.Path)}
		case strings.HasPrefix(a.Path, "/dev/volbridge/"):
			f.Remedy = "if the guest does not run: " + e.recoverCommand()
		default:
			f.Remedy = "let udev make the links again"
			f.Commands = []string{"udevadm trigger --action=change --subsystem-match=block", "udevadm settle --timeout=10"}
		}
		out = append(out, f)
	}
	return out
}

// loopOf is the loop device of a volume that is a file, "" if none is found.
func (e *Env) loopOf(a state.Attachment) string {
	var way struct{ File string }
	if json.Unmarshal(a.Device, &way) != nil || way.File == "" {
		return ""
	}
	all, _ := filepath.Glob(e.Path("/sys/block") + "/loop*/loop/backing_file") // the pattern is right
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err == nil && trim(text) == way.File {
			return "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(file)))
		}
	}
	return ""
}

// mapped is one map of the device mapper that holds a disk.
type mapped struct{ disk, dm, name, uuid string }

// holders are the maps that hold these disks, names in /sys/block, or their
// partitions.
func (e *Env) holders(pattern string) (list []mapped) {
	for _, form := range []string{"/holders/dm-*", "/*/holders/dm-*"} {
		all, _ := filepath.Glob(e.Path("/sys/block") + "/" + pattern + form) // the patterns are right
		for _, holder := range all {
			dm := filepath.Base(holder)
			rest, _ := strings.CutPrefix(holder, e.Path("/sys/block")+"/")
			disk, _, _ := strings.Cut(rest, "/")
			list = append(list, mapped{disk: disk, dm: dm, name: e.read("/sys/block/" + dm + "/dm/name"), uuid: e.read("/sys/block/" + dm + "/dm/uuid")})
		}
	}
	return list
}

// checkMultipath looks at volumes only: a map over another vendor's NVMe disk is
// this host's affair, and may be what it runs from.
func checkMultipath(ctx context.Context, e *Env) (out []Finding) {
	if !e.needs("flasharray") {
		return nil
	}
	attached := e.attachedDisks(ctx)
	var seen []string
	for _, m := range e.holders("nvme*") {
		wwid, ok := strings.CutPrefix(m.uuid, "mpath-")
		switch {
		case !ok || slices.Contains(seen, m.dm): // of several paths
			continue
		case !e.ofFlashArray(m.disk) && !slices.Contains(attached, m.disk):
			continue
		case e.nvmeMultipathOff():
			return skip("see nvme-multipath: dm-multipath joins what the kernel does not")
		}
		seen = append(seen, m.dm)
		out = append(out, inMultipath(m, wwid))
	}
	return out
}

// ofFlashArray says whether the NGUID of a disk in /sys/block is one of Pure's.
func (e *Env) ofFlashArray(disk string) bool {
	_, err := flasharray.ParseNGUID(strings.ReplaceAll(e.read("/sys/block/"+disk+"/nguid"), "-", ""))
	return err == nil
}

// attachedDisks are the names in /sys/block of what is recorded as attached.
func (e *Env) attachedDisks(ctx context.Context) (disks []string) {
	all, _ := e.attachments(ctx)
	for _, a := range all {
		if real, err := filepath.EvalSymlinks(e.Path(a.Path)); a.Path != "" && err == nil {
			disks = append(disks, filepath.Base(real))
		}
	}
	return disks
}

// plainWWID is what the kernel makes of a namespace's ids: "eui." or "uuid." and
// digits.
var plainWWID = lazyregexp.New(`^[0-9A-Za-z.-]+$`)

// inMultipath has the map's own name on the blacklist, in a file of its own, so
// that no earlier one is overwritten. multipathd takes a wwid there for an
// extended regular expression that may match anywhere in the name.
func inMultipath(m mapped, wwid string) Finding {
	f := Finding{Level: Fail,
		Seen:   fmt.Sprintf("dm-multipath holds %s as %s: the kernel joins the paths of NVMe itself, and QEMU would be refused the device", m.disk, m.name),
		Remedy: "take this volume from it, unless it is a disk of this host itself"}
	if !plainWWID.MatchString(wwid) {
		f.Remedy += ": blacklist its wwid in /etc/multipath.conf"
		return f
	}
	file := "/etc/multipath/conf.d/volbridge-" + wwid + ".conf"
	f.Commands = []string{
		fmt.Sprintf(`mkdir -p /etc/multipath/conf.d && printf 'blacklist {\n\twwid "^%s$"\n}\n' >%s`, strings.ReplaceAll(wwid, ".", "[.]"), file),
		"multipathd reconfigure",
		"multipath -f " + quote(m.name),
	}
	return f
}

func checkLVM(ctx context.Context, e *Env) (out []Finding) {
	all, _ := e.attachments(ctx)
	for _, a := range all {
		real, err := filepath.EvalSymlinks(e.Path(a.Path))
		if a.Path == "" || err != nil {
			continue
		}
		for _, m := range e.holders(filepath.Base(real)) {
			if !strings.HasPrefix(m.uuid, "LVM-") {
				continue
			}
			group := groupOf(m.name)
			out = append(out, Finding{Level: Fail, Seen: fmt.Sprintf("LVM of this host has activated %s, which is on volume %s/%s of domain %s: host and guest would both write it, and it cannot be detached",
				m.name, a.Pool, a.Volume, a.DomainName),
				Remedy:   "deactivate it here; so that it stays so, let this host's LVM see its own disks only (use_devicesfile = 1, or a global_filter, in /etc/lvm/lvm.conf)",
				Commands: []string{"vgchange -an " + quote(group)}})
		}
	}
	return out
}

// groupOf is the volume group in a map's name "group-volume", in which LVM
// doubles the dashes of the parts.
func groupOf(name string) string {
	for i := 0; i < len(name); i++ {
		if name[i] != '-' {
			continue
		}
		if i+1 < len(name) && name[i+1] == '-' {
			i++
			continue
		}
		return strings.ReplaceAll(name[:i], "--", "-")
	}
	return name
}
