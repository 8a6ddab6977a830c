package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/internal/loops"
	"github.com/volbridge/volbridge/lab/nvmesim"
)

// kernel is what one host's kernel has of one subsystem under one host NQN.
type kernel struct {
	host, root      string // root as this machine sees it
	hostNQN, hostID string
	subsystemNQN    string
	instance        string // the subsystem's number
	controllers     []controller
	spaces          map[uint32]*space // by NSID
}

type controller struct {
	name, dir string // the directory as this machine sees it
	number    string
	portal    string
}

// space is a namespace as the kernel remembers it.
type space struct {
	name string // nvme0n1
	loop loops.Device
	as   flasharray.Namespace
	says flasharray.Namespace // what it says of itself when it is asked
}

func (k *kernel) sys(elem ...string) string {
	return filepath.Join(append([]string{k.root, nvmesim.SysRoot}, elem...)...)
}

func (k *kernel) dev(name string) string { return filepath.Join(k.root, "dev", name) }

func (k *kernel) byID(n flasharray.Namespace) string {
	return filepath.Join(k.root, "dev/disk/by-id", "nvme-eui."+n.NGUID)
}

func (k *kernel) subsystem(elem ...string) string {
	return k.sys(append([]string{"class/nvme-subsystem", "nvme-subsys" + k.instance}, elem...)...)
}

func (k *kernel) has(controllerDir string) bool {
	return slices.ContainsFunc(k.controllers, func(c controller) bool { return c.dir == controllerDir })
}

func (k *kernel) through(portal string) (name string, there bool) {
	for _, c := range k.controllers {
		if c.portal == portal {
			return c.name, true
		}
	}
	return "", false
}

// connect makes a controller, and with the first one the subsystem.
func (k *kernel) connect(portal string) (controller, error) {
	host, port, err := net.SplitHostPort(portal)
	if err != nil {
		return controller{}, err
	}
	c := controller{portal: portal}
	if c.dir, c.number, err = firstFree(k.sys("class/nvme"), "nvme"); err != nil {
		return c, err
	}
	c.name = "nvme" + c.number
	files := map[string]string{
		"transport": "tcp", "address": "traddr=" + host + ",trsvcid=" + port, "subsysnqn": k.subsystemNQN,
		"hostnqn": k.hostNQN, "hostid": k.hostID, "state": "live", "cntrltype": "io", "rescan_controller": "",
	}
	if err := writeFiles(c.dir, files); err != nil {
		return c, err
	}
	if k.instance == "" {
		k.instance = c.number
		if err := os.Mkdir(k.subsystem(), 0o755); err != nil {
			return c, err
		}
		if err := writeFiles(k.subsystem(), map[string]string{"subsysnqn": k.subsystemNQN, "iopolicy": "numa"}); err != nil {
			return c, err
		}
	}
	for _, s := range k.spaces {
		if err := k.addPath(c, s); err != nil {
			return c, err
		}
	}
	k.controllers = append(k.controllers, c)
	return c, nil
}

// firstFree makes the first directory prefix0, prefix1 … that is not there.
// Several targets may play for one host.
func firstFree(dir, prefix string) (made, number string, err error) {
	for i := 0; ; i++ {
		made = filepath.Join(dir, prefix+strconv.Itoa(i))
		if err = os.Mkdir(made, 0o755); !errors.Is(err, fs.ErrExist) {
			return made, strconv.Itoa(i), err
		}
	}
}

func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// setState changes the controllers of a portal.
func (k *kernel) setState(portal, state string) error {
	for _, c := range k.controllers {
		if c.portal != portal {
			continue
		}
		if err := writeFiles(c.dir, map[string]string{"state": state}); err != nil {
			return err
		}
	}
	return k.ring()
}

// ring wakes those who wait, where the kernel would send a uevent.
func (k *kernel) ring() error {
	bell := filepath.Join(k.root, "dev/disk/by-id/.nvmesim")
	if err := os.WriteFile(bell, nil, 0o644); err != nil {
		return err
	}
	return os.Remove(bell)
}

// drop removes the namespaces that are no more, or are others now, and says at
// which NSIDs. Those that changed their size are told so.
func (k *kernel) drop(now map[uint32]flasharray.Namespace) (dropped map[uint32]bool, err error) {
	dropped = map[uint32]bool{}
	for _, nsid := range slices.Sorted(maps.Keys(k.spaces)) {
		s := k.spaces[nsid]
		n, there := now[nsid]
		switch {
		case !there || n.NGUID != s.as.NGUID:
			dropped[nsid] = true
			if err := k.remove(nsid); err != nil {
				return dropped, err
			}
		case n.SizeBytes != s.as.SizeBytes:
			if err := k.resize(s, n); err != nil {
				return dropped, err
			}
		}
	}
	return dropped, nil
}

// add makes devices of new namespaces, except at some NSIDs. From the first
// moment they say the truth of themselves.
func (k *kernel) add(now, truth map[uint32]flasharray.Namespace, except map[uint32]bool) error {
	for _, nsid := range slices.Sorted(maps.Keys(now)) {
		if k.spaces[nsid] != nil || except[nsid] || len(k.controllers) == 0 {
			continue
		}
		if err := k.appear(nsid, now[nsid], truth[nsid]); err != nil {
			return err
		}
	}
	return nil
}

// tellTruth writes what each device says when it is asked.
func (k *kernel) tellTruth(truth map[uint32]flasharray.Namespace) error {
	for nsid, s := range k.spaces {
		if s.says == truth[nsid] {
			continue
		}
		if err := k.writeTruth(s, truth[nsid]); err != nil {
			return err
		}
	}
	return nil
}

func (k *kernel) writeTruth(s *space, n flasharray.Namespace) error {
	text, err := json.Marshal(nvmesim.Truth{NGUID: n.NGUID, SizeBytes: n.SizeBytes})
	if err != nil {
		return err
	}
	file := filepath.Join(k.root, nvmesim.TruthFile(s.name))
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	s.says = n
	return nil
}

// disconnect takes all that is the subsystem's from a host that is up.
func (k *kernel) disconnect() error {
	var errs []error
	for nsid := range k.spaces {
		errs = append(errs, k.remove(nsid))
	}
	for _, c := range k.controllers {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	if k.instance != "" {
		errs = append(errs, os.RemoveAll(k.subsystem()))
	}
	return errors.Join(errs...)
}

// powerOff lets go of what is left of a host that is down.
func (k *kernel) powerOff() {
	for _, s := range k.spaces {
		// If it does not go now, then with the lab.
		_ = loops.Detach(s.loop)
	}
}

// number of a device node, as sysfs says it.
func number(node string) (text string, rdev int, err error) {
	var s unix.Stat_t
	if err := unix.Stat(node, &s); err != nil {
		return "", 0, fmt.Errorf("stat %s: %w", node, err)
	}
	return fmt.Sprintf("%d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev)), int(s.Rdev), nil
}
