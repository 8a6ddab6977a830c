package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/virt"
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
			name, uses, err := refersTo(&doms[i], path)
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

func refersTo(dom *libvirt.Domain, path string) (name string, uses bool, err error) {
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
		if names(doc, path) {
			return name, true, nil
		}
	}
	return name, false, nil
}

func names(doc *domainxml.Document, path string) bool {
	for _, disk := range doc.Disks() {
		if disk.Source == path {
			return true
		}
		for _, b := range disk.Backing {
			if b.Source == path {
				return true
			}
		}
	}
	return false
}

// RemoveFile removes a disk image of this daemon's host: through libvirt's
// storage pool if it is in one, else directly if the daemon is local.
func (d *Daemon) RemoveFile(ctx context.Context, path string) error {
	_, err := within(ctx, func() (struct{}, error) {
		vol, err := d.conn.LookupStorageVolByPath(path)
		if err == nil {
			defer vol.Free()
			return struct{}{}, plain(vol.Delete(0))
		}
		if !d.local() {
			return struct{}{}, fmt.Errorf("%s is in no storage pool of %s: remove it there by hand", path, d.uri)
		}
		return struct{}{}, removeRegular(path)
	})
	return err
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
