package drbd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/pool"
)

// volumeNumber is the only one that a resource of ours has: a role belongs to
// the whole resource, so two volumes of one could not be held apart.
const volumeNumber = 0

const sectorBytes = 512 // what sysfs counts in

// folderName makes a file name of any pool's name.
func folderName(name string) string { return hex.EncodeToString([]byte(name)) }

func checkName(name string) error {
	if drbdtools.ValidResource(name) {
		return nil
	}
	return fmt.Errorf("%w: %.40q; a DRBD resource has 1 to 127 of the letters a to z and A to Z, digits and _ . + -, "+
		"with a letter, a digit or _ at the start", pool.ErrInvalidName, name)
}

// matches says whether the pool may have a resource of this name.
func (b *backend) matches(name string) bool {
	return len(b.patterns) == 0 || slices.ContainsFunc(b.patterns, func(p string) bool {
		ok, err := filepath.Match(p, name)
		return ok && err == nil
	})
}

// resources are those of the pool on this host, as they are configured.
func (b *backend) resources(ctx context.Context) ([]drbdtools.Resource, error) {
	node, err := b.nodeName()
	if err != nil {
		return nil, err
	}
	all, err := b.tools.Resources(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r drbdtools.Resource) bool {
		// Whether one with a problem is of this host is not known.
		return !b.matches(r.Name) || r.Problem == "" && !slices.Contains(r.Hosts, node)
	}), nil
}

// resource finds one that the pool can serve, or gives pool.ErrNotFound.
func (b *backend) resource(ctx context.Context, name string) (drbdtools.Resource, error) {
	r, err := b.configured(ctx, name)
	if err != nil {
		return r, err
	}
	return r, suitable(r)
}

// configured finds one in the configuration.
func (b *backend) configured(ctx context.Context, name string) (drbdtools.Resource, error) {
	all, err := b.resources(ctx)
	if err != nil {
		return drbdtools.Resource{}, err
	}
	for _, r := range all {
		if r.Name == name {
			return r, nil
		}
	}
	return drbdtools.Resource{}, fmt.Errorf("%w: no DRBD resource %s is configured for this host", pool.ErrNotFound, name)
}

// suitable refuses what could not be kept apart.
func suitable(r drbdtools.Resource) error {
	switch {
	case r.Problem != "":
		return fmt.Errorf("the configuration of DRBD resource %s has something that volbridge does not understand (%s): "+
			"see drbdadm dump %s, or leave it out with the key resources of the pool", r.Name, r.Problem, r.Name)
	case len(r.Volumes) != 1 || r.Volumes[0] != volumeNumber:
		return fmt.Errorf("DRBD resource %s has the volumes %v, and this pool serves only resources with the one volume %d: "+
			"a host is Primary for all of them; give each volume a resource of its own", r.Name, r.Volumes, volumeNumber)
	case r.TwoPrimaries:
		return fmt.Errorf("DRBD resource %s allows two primaries in its configuration, so nothing would keep a guest from running twice: "+
			"remove allow-two-primaries there, then: drbdadm adjust %s; it is allowed for the time of a migration by itself", r.Name, r.Name)
	case r.Protocol == "":
		return fmt.Errorf("DRBD resource %s has connections with different protocols, which a migration could not restore: "+
			"give all the same protocol", r.Name)
	}
	return nil
}

// peers are the other hosts of a resource.
func (b *backend) peers(r drbdtools.Resource) ([]string, error) {
	node, err := b.nodeName()
	return slices.DeleteFunc(slices.Clone(r.Hosts), func(h string) bool { return h == node }), err
}

// up asks the kernel for a resource that must be up.
func (b *backend) up(ctx context.Context, name string) (drbdtools.State, drbdtools.Device, error) {
	s, err := b.tools.State(ctx, name)
	if err != nil {
		return s, drbdtools.Device{}, err
	}
	d, there := s.Device(volumeNumber)
	if !there {
		node, _ := b.nodeName()
		return s, d, fmt.Errorf("DRBD resource %s is not up on host %s: drbdadm up %s", name, node, name)
	}
	return s, d, nil
}

// sizeBytes reads the size from sysfs: a device that is Secondary cannot be
// opened.
func (b *backend) sizeBytes(d drbdtools.Device) (int64, error) {
	path := filepath.Join(b.sys, "block", fmt.Sprintf("drbd%d", d.Minor), "size")
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || sectors < 0 || sectors > 1<<54 {
		return 0, fmt.Errorf("%s says %.40q, which is no size", path, data)
	}
	if sectors == 0 {
		return 0, fmt.Errorf("%s says that it has no size yet; has it ever been connected to a peer with a disk?", path)
	}
	return sectors * sectorBytes, nil
}

func (b *backend) lookup(ctx context.Context, name string) (pool.Volume, error) {
	if _, err := b.resource(ctx, name); err != nil {
		return pool.Volume{}, err
	}
	return b.volume(ctx, name)
}

// volume is a resource that is known to be configured.
func (b *backend) volume(ctx context.Context, name string) (pool.Volume, error) {
	_, d, err := b.up(ctx, name)
	if err != nil {
		return pool.Volume{}, err
	}
	return b.volumeOf(name, d)
}

func (b *backend) volumeOf(name string, d drbdtools.Device) (pool.Volume, error) {
	size, err := b.sizeBytes(d)
	return pool.Volume{Pool: b.name, Name: name, Identity: blockdev.DRBDIdentity(name, volumeNumber), SizeBytes: size}, err
}

func (b *backend) list(ctx context.Context) ([]pool.Volume, error) {
	all, err := b.resources(ctx)
	if err != nil {
		return nil, err
	}
	var volumes []pool.Volume
	var wrong []error
	for _, r := range all {
		err := suitable(r)
		if err == nil {
			var v pool.Volume
			if v, err = b.volume(ctx, r.Name); err == nil {
				volumes = append(volumes, v)
			}
		}
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	return volumes, errors.Join(wrong...)
}

// connection is how this host reaches a volume.
func (b *backend) connection(v pool.Volume, d drbdtools.Device, host pool.Host) pool.Connection {
	return pool.Connection{
		Protocol: blockdev.DRBD, Pool: b.name, Volume: v.Name, Identity: v.Identity, SizeBytes: v.SizeBytes, HostID: host.ID,
		Path: blockdev.DRBDPath(v.Name, volumeNumber), Lasting: true,
		DRBD: &blockdev.DRBDResource{Resource: v.Name, Volume: volumeNumber, Minor: d.Minor},
	}
}
