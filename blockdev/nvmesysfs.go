package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// nvmeController is a connection of this host to the subsystem, under our host
// NQN. One of somebody else, who connects as another host, is not ours to use:
// the array may show it other volumes.
type nvmeController struct {
	name, dir string
	state     string
	hostID    string
	portal    netip.AddrPort // invalid if its address could not be read
}

// live controllers do I/O; coming ones are on their way to it by themselves.
func (c nvmeController) live() bool { return c.state == "live" }
func (c nvmeController) coming() bool {
	return c.state == "new" || c.state == "connecting" || c.state == "resetting"
}

// nvmeNamespace is a namespace as the kernel remembers it.
type nvmeNamespace struct {
	name, dir string
	node      string
	nsid      uint32
	nguid     string // "" if it has none
	sizeBytes int64
	readOnly  bool
	number    string // major:minor, "" if sysfs does not say it
}

// nvmeView is what sysfs shows of one subsystem to one host NQN.
type nvmeView struct {
	controllers []nvmeController // those that are not about to go
	namespaces  []nvmeNamespace
}

// withNGUID are the namespaces that say they are the volume. Without native
// multipath there is one for each controller.
func (v nvmeView) withNGUID(id Identity) []nvmeNamespace {
	var found []nvmeNamespace
	for _, n := range v.namespaces {
		if n.nguid == string(id) {
			found = append(found, n)
		}
	}
	return found
}

func (v nvmeView) to(portal netip.AddrPort) bool {
	return slices.ContainsFunc(v.controllers, func(c nvmeController) bool { return c.portal == portal })
}

func (v nvmeView) allLive() bool {
	return !slices.ContainsFunc(v.controllers, func(c nvmeController) bool { return !c.live() })
}

func (t nvme) sys(elem ...string) string {
	return filepath.Join(append([]string{t.host.Sys}, elem...)...)
}

// look reads sysfs. What goes away meanwhile is left out.
func (t nvme) look(c Connection) (nvmeView, error) {
	target := c.NVMe
	var v nvmeView
	var plain, reached []string // nodes of controllers; heads with a path through ours
	foreign := map[string]bool{}
	names, err := folderNames(t.sys("class/nvme"))
	if err != nil {
		return v, err
	}
	for _, name := range names {
		dir := t.sys("class/nvme", name)
		ctrl, ours, err := readController(dir, target)
		if err != nil {
			return v, err
		}
		children, err := folderNames(dir)
		if err != nil {
			return v, err
		}
		for _, child := range children {
			if head, ok := headOf(child); ok && ours {
				reached = append(reached, head)
			} else if ok {
				foreign[head] = true
			} else if ours && namespaceName.MatchString(child) {
				plain = append(plain, filepath.Join(dir, child))
			}
		}
		if ours && (ctrl.live() || ctrl.coming()) {
			v.controllers = append(v.controllers, ctrl)
		}
	}
	heads, err := t.heads(target)
	if err != nil {
		return v, err
	}
	for _, dir := range heads {
		head := filepath.Base(dir)
		if foreign[head] && !slices.Contains(reached, head) {
			continue // another host NQN's of this machine
		}
		plain = append(plain, dir)
	}
	for _, dir := range plain {
		n, err := t.readNamespace(dir, c)
		if vanished(err) {
			continue
		}
		if err != nil {
			return v, err
		}
		v.namespaces = append(v.namespaces, n)
	}
	return v, nil
}

// heads are the folders of the subsystem's namespaces under native multipath.
func (t nvme) heads(target *NVMeTarget) ([]string, error) {
	class := t.sys("class/nvme-subsystem")
	names, err := folderNames(class)
	if err != nil {
		return nil, err
	}
	var heads []string
	for _, name := range names {
		dir := filepath.Join(class, name)
		if nqn, err := attribute(dir, "subsysnqn"); err != nil || nqn != target.SubsystemNQN {
			continue // going, or another: an unreadable name is not ours
		}
		children, err := folderNames(dir)
		if err != nil {
			return nil, err
		}
		for _, child := range children {
			if namespaceName.MatchString(child) {
				heads = append(heads, filepath.Join(dir, child))
			}
		}
	}
	return heads, nil
}

// readController says whether the controller is ours. Who cannot be read is
// not.
func readController(dir string, target *NVMeTarget) (c nvmeController, ours bool, err error) {
	for file, want := range map[string]string{"transport": "tcp", "subsysnqn": target.SubsystemNQN, "hostnqn": target.HostNQN} {
		have, err := attribute(dir, file)
		if err != nil && !vanished(err) && !errors.Is(err, errBadAttribute) {
			return c, false, err
		}
		if err != nil || have != want {
			return c, false, nil
		}
	}
	c = nvmeController{name: filepath.Base(dir), dir: dir}
	if c.state, err = attribute(dir, "state"); err != nil {
		return c, false, unlessVanished(err)
	}
	if address, err := attribute(dir, "address"); err == nil {
		c.portal, _ = parsePortal(address) // one that we do not understand is at no portal of ours
	}
	c.hostID, _ = attribute(dir, "hostid") // kernels before 4.18 do not show it
	return c, true, nil
}

// readNamespace reads of a namespace that is not the volume only what tells so:
// a host may have hundreds.
func (t nvme) readNamespace(dir string, c Connection) (nvmeNamespace, error) {
	n := nvmeNamespace{name: filepath.Base(dir), dir: dir}
	n.node = filepath.Join(t.host.Dev, n.name)
	if id, err := attribute(dir, "nguid"); err == nil {
		n.nguid, _ = parseNGUID(id) // what is no NGUID is not the wanted one
	}
	wanted := n.nguid == string(c.Identity)
	if wanted || c.NVMe.NSID != 0 {
		nsid, _ := numberAttribute(dir, "nsid", 32) // not known: not relied on
		n.nsid = uint32(nsid)
	}
	if !wanted {
		return n, nil
	}
	if err := n.readSize(); err != nil {
		return n, err
	}
	ro, _ := attribute(dir, "ro")
	n.readOnly = ro != "" && ro != "0"
	n.number, _ = attribute(dir, "dev")
	return n, nil
}

// readSize leaves -1 where sysfs has no sensible size: no volume's.
func (n *nvmeNamespace) readSize() error {
	const sector = 512 // sysfs counts in these, whatever the namespace's block size is
	n.sizeBytes = -1
	sectors, err := numberAttribute(n.dir, "size", 63)
	if err != nil && !errors.Is(err, errBadAttribute) {
		return err
	}
	if err == nil && sectors <= math.MaxInt64/sector {
		n.sizeBytes = int64(sectors) * sector
	}
	return nil
}

func attribute(dir, file string) (string, error) {
	text, err := readSmall(filepath.Join(dir, file))
	if err != nil {
		return "", fmt.Errorf("read %s/%s: %w", dir, file, err)
	}
	s, err := cleanAttribute(text)
	if err != nil {
		return "", fmt.Errorf("read %s/%s: %w", dir, file, err)
	}
	return s, nil
}

func numberAttribute(dir, file string, bits int) (uint64, error) {
	text, err := attribute(dir, file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%s/%s: %q: %w", dir, file, shorten(text), errBadAttribute)
	}
	return n, nil
}

// folderNames lists a folder of sysfs; one that is not there is empty.
func folderNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if vanished(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil && !vanished(err) {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// vanished says whether something of sysfs went while it was read.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

func unlessVanished(err error) error {
	if vanished(err) || errors.Is(err, errBadAttribute) {
		return nil
	}
	return err
}
