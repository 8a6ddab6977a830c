package linstor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/LINBIT/golinstor/client"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

func (b *backend) noGroup(err error) error {
	return fmt.Errorf("the cluster has no resource group %s: create it (`linstor resource-group create`), or correct the configuration: %w",
		b.settings.ResourceGroup, err)
}

// Check implements pool.Checker: a controller answers, lets this pool in and has
// its resource group. That new volumes could not be made there is only said: the
// pool may hold those that an administrator has made.
func (b *backend) Check(ctx context.Context) error {
	_, err := whole(ctx, b, "check", func() (nothing, error) { return nothing{}, b.check(ctx) })
	return err
}

func (b *backend) check(ctx context.Context) error {
	group, err := b.linstor.Group(ctx, b.settings.ResourceGroup)
	if errors.Is(err, rest.ErrNoGroup) {
		return b.noGroup(err)
	}
	if err != nil {
		return err
	}
	pools, err := b.linstor.StoragePools(ctx)
	if err != nil {
		return err
	}
	var old []string
	for _, p := range pools {
		if usable(group.SelectFilter, p) && !slices.Contains(blankKinds, p.ProviderKind) {
			old = append(old, fmt.Sprintf("%s on %s (%s)", p.StoragePoolName, p.NodeName, p.ProviderKind))
		}
	}
	if len(old) > 0 {
		b.log.Warnf("resource group %s may place volumes on storage where a new one shows what was there before, which volbridge refuses to make: %s; "+
			"let it use LVM_THIN, ZFS or ZFS_THIN (`linstor resource-group modify --storage-pool`)", b.settings.ResourceGroup, strings.Join(old, ", "))
	}
	return nil
}

// usable says whether the group may place a replica in a storage pool.
func usable(f client.AutoSelectFilter, p client.StoragePool) bool {
	if p.ProviderKind == client.DISKLESS {
		return false
	}
	wanted := f.StoragePoolList
	if f.StoragePool != "" {
		wanted = append(slices.Clone(wanted), f.StoragePool)
	}
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(name string) bool { return strings.EqualFold(name, p.StoragePoolName) })
}

// CheckHost implements pool.HostChecker: the host is a node of the cluster, and
// online.
func (b *backend) CheckHost(ctx context.Context, h pool.Host) error {
	_, err := whole(ctx, b, "check host "+h.Name+" for", func() (nothing, error) { return nothing{}, b.checkHost(ctx, h) })
	return err
}

func (b *backend) checkHost(ctx context.Context, h pool.Host) error {
	nodes, err := b.linstor.Nodes(ctx)
	if err != nil {
		return err
	}
	name := b.node(h)
	i := slices.IndexFunc(nodes, func(n client.Node) bool { return strings.EqualFold(n.Name, name) })
	if i < 0 {
		return fmt.Errorf("the cluster (controller %s) has no node %s: add it (`linstor node create`), or set node = \"…\" to LINSTOR's name of this host",
			b.linstor.Controller(), name)
	}
	if s := nodes[i].ConnectionStatus; s != "ONLINE" && s != "CONNECTED" {
		return fmt.Errorf("%w: node %s is %s: start linstor-satellite there, or see `linstor node list`", rest.ErrOffline, name, s)
	}
	return nil
}
