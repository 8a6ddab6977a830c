package nvmet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Namespace is a volume as the hosts of one subsystem see it.
type Namespace struct {
	NSID uint32 // from 1
	// Path is a block device or a file. The block size of a file's namespace
	// is that of its file system; bind it to a loop device to have 512 bytes.
	Path  string
	NGUID string // 32 hexadecimal digits; with dashes as in a UUID also
	UUID  string // "" for none, as with the array
}

const noUUID = "00000000-0000-0000-0000-000000000000"

// AddNamespace makes a namespace and shows it: hosts hear of it by an
// asynchronous event. After an error nothing is shown.
func (t *Target) AddNamespace(nqn string, ns Namespace) error {
	dir := t.namespace(nqn, ns.NSID)
	if err := t.mkdir(dir); err != nil {
		return fmt.Errorf("add namespace %d of %s: %w", ns.NSID, nqn, err)
	}
	if err := t.fill(dir, ns); err != nil {
		return errors.Join(fmt.Errorf("add namespace %d of %s: %w", ns.NSID, nqn, err), t.remove(dir))
	}
	return nil
}

// fill says what a disabled namespace is, and enables it.
func (t *Target) fill(dir string, ns Namespace) error {
	uuid := ns.UUID
	if uuid == "" {
		uuid = noUUID
	}
	for _, attribute := range []struct{ name, value string }{
		{"device_path", ns.Path},
		{"device_nguid", ns.NGUID},
		{"device_uuid", uuid},
		{"enable", "1"},
	} {
		if err := t.write(filepath.Join(dir, attribute.name), attribute.value); err != nil {
			return err
		}
	}
	return nil
}

// RemoveNamespace takes a namespace away from the hosts and removes it. One
// that is not there is no error. To a host that has not noticed, Identify still
// succeeds: with a size of 0 and an NGUID of zeroes.
func (t *Target) RemoveNamespace(nqn string, nsid uint32) error {
	dir := t.namespace(nqn, nsid)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := errors.Join(t.write(filepath.Join(dir, "enable"), "0"), t.remove(dir)); err != nil {
		return fmt.Errorf("remove namespace %d of %s: %w", nsid, nqn, err)
	}
	return nil
}

// Enable shows a namespace or hides it.
func (t *Target) Enable(nqn string, nsid uint32, shown bool) error {
	value := "0"
	if shown {
		value = "1"
	}
	if err := t.write(filepath.Join(t.namespace(nqn, nsid), "enable"), value); err != nil {
		return fmt.Errorf("set namespace %d of %s to enable=%s: %w", nsid, nqn, value, err)
	}
	return nil
}

// Swap puts another volume behind ns.NSID, as when an array uses the number of
// an old connection again.
//
// What Linux 6.1 makes of it: with events, each controller drops the old
// namespace ("identifiers changed") and shows nothing in its place until it is
// scanned again; a namespace appears only once every controller has dropped the
// old one ("IDs don't match for shared namespace"), so it takes two rescans of
// all. Without events (nvme set-feature -f 0x0b -v 0, until the controller
// connects anew) nothing is noticed: sysfs and the by-id link tell the old
// NGUID, sectors are the new volume's, and only Identify tells the truth.
func (t *Target) Swap(nqn string, ns Namespace) error {
	dir := t.namespace(nqn, ns.NSID)
	err := t.write(filepath.Join(dir, "enable"), "0")
	if err == nil {
		err = t.fill(dir, ns)
	}
	if err != nil {
		return fmt.Errorf("swap namespace %d of %s: %w", ns.NSID, nqn, err)
	}
	return nil
}

// Resized lets the hosts know that the namespace's device or file has another
// size now; their devices follow by themselves.
func (t *Target) Resized(nqn string, nsid uint32) error {
	if err := t.write(filepath.Join(t.namespace(nqn, nsid), "revalidate_size"), "1"); err != nil {
		return fmt.Errorf("look at the size of namespace %d of %s: %w", nsid, nqn, err)
	}
	return nil
}

// Namespaces are the subsystem's namespaces in the order of their numbers,
// hidden ones too.
func (t *Target) Namespaces(nqn string) ([]Namespace, error) {
	entries, err := os.ReadDir(t.subsystem(nqn, "namespaces"))
	if err != nil {
		return nil, err
	}
	var all []Namespace
	for _, e := range entries {
		ns, err := t.readNamespace(nqn, e.Name())
		if err != nil {
			return nil, fmt.Errorf("read namespace %s of %s: %w", e.Name(), nqn, err)
		}
		all = append(all, ns)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].NSID < all[j].NSID })
	return all, nil
}

func (t *Target) readNamespace(nqn, name string) (Namespace, error) {
	nsid, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return Namespace{}, err
	}
	ns := Namespace{NSID: uint32(nsid)}
	for attribute, to := range map[string]*string{"device_path": &ns.Path, "device_nguid": &ns.NGUID, "device_uuid": &ns.UUID} {
		text, err := os.ReadFile(filepath.Join(t.namespace(nqn, ns.NSID), attribute))
		if err != nil {
			return Namespace{}, err
		}
		*to = strings.TrimSpace(string(text))
	}
	ns.NGUID = strings.ReplaceAll(ns.NGUID, "-", "")
	if ns.UUID == noUUID {
		ns.UUID = ""
	}
	return ns, nil
}

func (t *Target) namespace(nqn string, nsid uint32) string {
	return t.subsystem(nqn, "namespaces", strconv.FormatUint(uint64(nsid), 10))
}
