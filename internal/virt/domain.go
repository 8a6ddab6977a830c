package virt

import (
	"errors"
	"fmt"
	"strconv"

	"libvirt.org/go/libvirt"
)

// ErrNoDomain: no domain has this id, UUID or name.
var ErrNoDomain = errors.New("no such domain")

// uuidLength is that of a UUID with its dashes.
const uuidLength = 36

// Domain finds a domain as virsh does: by the id of a running one, then by
// UUID, then by name. The caller frees it.
func Domain(conn *libvirt.Connect, key string) (*libvirt.Domain, error) {
	for _, look := range lookups(conn, key) {
		dom, err := look()
		if err == nil {
			return dom, nil
		}
		// A name may look like a UUID that libvirt cannot parse.
		if !IsCode(err, libvirt.ERR_NO_DOMAIN) && !IsCode(err, libvirt.ERR_INVALID_ARG) {
			return nil, fmt.Errorf("look up domain %s: %s", key, Message(err))
		}
	}
	return nil, fmt.Errorf("%w: %q: 'virsh list --all' shows those of this host", ErrNoDomain, key)
}

func lookups(conn *libvirt.Connect, key string) []func() (*libvirt.Domain, error) {
	var list []func() (*libvirt.Domain, error)
	if id, err := strconv.ParseUint(key, 10, 31); err == nil {
		list = append(list, func() (*libvirt.Domain, error) { return conn.LookupDomainById(uint32(id)) })
	}
	if len(key) == uuidLength {
		list = append(list, func() (*libvirt.Domain, error) { return conn.LookupDomainByUUIDString(key) })
	}
	return append(list, func() (*libvirt.Domain, error) { return conn.LookupDomainByName(key) })
}
