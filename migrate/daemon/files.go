package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/migrate"
)

// UsersOf names the domains, running or stored, whose disks or explicit backing
// chains refer to the path.
func (d *Daemon) UsersOf(ctx context.Context, path string) ([]string, error) {
	return within(ctx, func() ([]string, error) {
		doms, err := d.conn.ListAllDomains(0)
		if err != nil {
			return nil, fmt.Errorf("list the domains of %s: %w", d.uri, plain(err))
		}
		var users []string
		var errs []error
		for i := range doms {
			name, uses, err := d.refersTo(&doms[i], path)
			if err != nil {
				errs = append(errs, err)
			} else if uses {
				users = append(users, name)
			}
			doms[i].Free()
		}
		return users, errors.Join(errs...)
	})
}

func (d *Daemon) refersTo(dom *libvirt.Domain, path string) (name string, uses bool, err error) {
	if name, err = dom.GetName(); err != nil {
		return name, false, plain(err)
	}
	for _, flags := range []libvirt.DomainXMLFlags{0, libvirt.DOMAIN_XML_INACTIVE} {
		xml, err := dom.GetXMLDesc(flags)
		if virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
			return name, false, nil // it has gone meanwhile
		}
		if err != nil {
			return name, false, plain(err)
		}
		doc, err := domainxml.Parse([]byte(xml))
		if err != nil {
			return name, false, fmt.Errorf("read the definition of domain %s: %w", name, err)
		}
		uses, err = names(doc, path, d.volumePath)
		if err != nil {
			return name, false, fmt.Errorf("domain %s: %w", name, err)
		}
		if uses {
			return name, true, nil
		}
	}
	return name, false, nil
}

// names says whether a disk refers to the path; volumePath finds that of a
// volume of one of libvirt's own storage pools. The error says that a disk may
// refer to it. None is taken to refer to a device below /dev: those of volbridge
// are no volumes of libvirt's pools, and one that is off must not keep a
// migration from being undone.
func names(doc *domainxml.Document, path string, volumePath func(pool, volume string) (string, error)) (bool, error) {
	var errs []error
	device := strings.HasPrefix(filepath.Clean(path), "/dev/")
	for _, disk := range doc.Disks() {
		source := disk.Source
		if disk.Kind == "volume" && disk.Volume != "" {
			var err error
			if source, err = volumePath(disk.Pool, disk.Volume); err != nil && !device {
				errs = append(errs, fmt.Errorf("disk %s is volume %s of libvirt's storage pool %s, and which path that is cannot be asked: see \"virsh pool-list --all\" (%w)",
					disk.Target, disk.Volume, disk.Pool, err))
			}
		}
		if same(source, path) {
			return true, nil
		}
		for _, b := range disk.Backing {
			if same(b.Source, path) {
				return true, nil
			}
			if b.Kind == "volume" && !device {
				errs = append(errs, fmt.Errorf("disk %s has a volume of a storage pool of libvirt in its backing chain, and which is not known", disk.Target))
			}
		}
	}
	return false, errors.Join(errs...)
}

// same compares as the kernel reads paths: "//" and "/./" are "/".
func same(source, path string) bool {
	return source != "" && filepath.Clean(source) == filepath.Clean(path)
}

func (d *Daemon) volumePath(pool, volume string) (string, error) {
	p, err := d.conn.LookupStoragePoolByName(pool)
	if err != nil {
		return "", plain(err)
	}
	defer p.Free()
	v, err := p.LookupStorageVolByName(volume)
	if err != nil {
		return "", plain(err)
	}
	defer v.Free()
	path, err := v.GetPath()
	return path, plain(err)
}

// FileIdentity is "" for a file of another host, and of a file system that does
// not know when a file was made.
func (d *Daemon) FileIdentity(ctx context.Context, path string) (string, error) {
	if !d.local() {
		return "", nil
	}
	return within(ctx, func() (string, error) {
		id, err := identityOf(path)
		if err != nil {
			return "", nil // as of another host: libvirt may still remove it
		}
		return id, nil
	})
}

// identityOf a file is its inode and its birth: both outlast what the guest
// writes. The device's number does not tell: a boot may give another.
func identityOf(path string) (string, error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &s); err != nil {
		return "", err
	}
	if s.Mask&unix.STATX_BTIME == 0 {
		return "", nil
	}
	return fmt.Sprintf("inode %d of %d.%09d", s.Ino, s.Btime.Sec, s.Btime.Nsec), nil
}

// RemoveFile removes a disk image of this daemon's host: through libvirt's
// storage pool if it is in one, else directly if the daemon is local.
func (d *Daemon) RemoveFile(ctx context.Context, path, identity string) error {
	_, err := within(ctx, func() (struct{}, error) {
		if identity != "" {
			now, err := identityOf(path)
			switch {
			case errors.Is(err, os.ErrNotExist):
				return struct{}{}, nil
			case err != nil:
				return struct{}{}, fmt.Errorf("look at %s: %w", path, err)
			case now != identity:
				return struct{}{}, fmt.Errorf("%w (%s, that was %s)", migrate.ErrReplaced, cmp.Or(now, "now unknown"), identity)
			}
		}
		return struct{}{}, d.remove(path)
	})
	return err
}

func (d *Daemon) remove(path string) error {
	vol, err := d.conn.LookupStorageVolByPath(path)
	if err == nil {
		defer vol.Free()
		return plain(vol.Delete(0))
	}
	if !d.local() {
		return fmt.Errorf("%s is in no storage pool of %s: remove it there by hand", path, d.uri)
	}
	return removeRegular(path)
}

// local says whether the daemon runs on this machine: its URI names no host.
func (d *Daemon) local() bool {
	u, err := url.Parse(d.uri)
	return err == nil && u.Host == ""
}

func removeRegular(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file: remove it by hand", path)
	}
	return os.Remove(path)
}
