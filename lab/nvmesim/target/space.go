package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/internal/loops"
	"github.com/volbridge/volbridge/lab/nvmesim"
)

// appear makes a namespace's device, in the order of the kernel and udev: the
// entry in sysfs, complete, the node, the link.
func (k *kernel) appear(nsid uint32, n, truth flasharray.Namespace) error {
	loop, err := attachLoop(n.File)
	if err != nil {
		return err
	}
	s := &space{loop: loop, as: n}
	k.spaces[nsid] = s
	dev, rdev, err := number(loop.Node)
	if err != nil {
		return err
	}
	if err := k.addHead(s, nsid, dev); err != nil {
		return err
	}
	for _, c := range k.controllers {
		if err := k.addPath(c, s); err != nil {
			return err
		}
	}
	if err := k.writeTruth(s, truth); err != nil {
		return err
	}
	if err := unix.Mknod(k.dev(s.name), unix.S_IFBLK|0o660, rdev); err != nil {
		return fmt.Errorf("make node %s of %s: %w", s.name, k.host, err)
	}
	link := k.byID(n)
	if err := os.Symlink("../../"+s.name, link+".tmp"); err != nil {
		return err
	}
	return os.Rename(link+".tmp", link) // as udev does: a link is never absent in between
}

// addHead makes the entry of the first free name in one step.
func (k *kernel) addHead(s *space, nsid uint32, dev string) error {
	unfinished := k.subsystem(".new")
	if err := os.MkdirAll(filepath.Join(unfinished, "holders"), 0o755); err != nil {
		return err
	}
	files := map[string]string{
		"nguid": dashed(s.as.NGUID), "wwid": "eui." + s.as.NGUID, "nsid": strconv.Itoa(int(nsid)),
		"size": strconv.FormatInt(s.as.SizeBytes/512, 10), "ro": "0", "hidden": "0", "dev": dev,
	}
	if err := writeFiles(unfinished, files); err != nil {
		return err
	}
	for head := 1; ; head++ {
		s.name = fmt.Sprintf("nvme%sn%d", k.instance, head)
		// A directory moves only onto none or an empty one, and no head is empty.
		err := os.Rename(unfinished, k.subsystem(s.name))
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
}

// addPath makes the hidden device through which a controller reaches it.
func (k *kernel) addPath(c controller, s *space) error {
	return os.Mkdir(k.path(c, s), 0o755)
}

func (k *kernel) path(c controller, s *space) string {
	head := s.name[len("nvme"+k.instance):]
	return filepath.Join(c.dir, "nvme"+k.instance+"c"+c.number+head)
}

// remove takes a namespace's device away, as kernel and udev do: the node, the
// entry, and last the link.
func (k *kernel) remove(nsid uint32) error {
	s := k.spaces[nsid]
	delete(k.spaces, nsid)
	errs := []error{os.Remove(k.dev(s.name)), os.RemoveAll(k.subsystem(s.name))}
	for _, c := range k.controllers {
		errs = append(errs, os.RemoveAll(k.path(c, s)))
	}
	errs = append(errs, os.Remove(filepath.Join(k.root, nvmesim.TruthFile(s.name))))
	if to, err := os.Readlink(k.byID(s.as)); err == nil && filepath.Base(to) == s.name {
		errs = append(errs, os.Remove(k.byID(s.as)))
	}
	return errors.Join(append(errs, loops.Detach(s.loop))...)
}

// resize lets the kernel know the new size.
func (k *kernel) resize(s *space, n flasharray.Namespace) error {
	if err := refreshLoop(s.loop.Node); err != nil {
		return err
	}
	s.as = n
	err := writeFiles(k.subsystem(s.name), map[string]string{"size": strconv.FormatInt(n.SizeBytes/512, 10)})
	return errors.Join(err, k.ring())
}

// dashed is an NGUID as sysfs shows it.
func dashed(nguid string) string {
	return nguid[:8] + "-" + nguid[8:12] + "-" + nguid[12:16] + "-" + nguid[16:20] + "-" + nguid[20:]
}
