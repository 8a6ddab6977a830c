package rest

import (
	"context"
	"errors"
	"strings"

	"github.com/LINBIT/golinstor/client"
)

// The types that the calls speak of.
type (
	// Definition is a resource definition with its volume definitions.
	Definition = client.ResourceDefinitionWithVolumeDefinition
	// Resource is a resource on a node with its volumes.
	Resource = client.ResourceWithVolumes
)

// Definition finds one by its name, which is told apart as the controller does:
// not by case. A list that does not have it says so; no other answer does.
func (c *Client) Definition(ctx context.Context, name string) (Definition, error) {
	list, err := c.Definitions(ctx, name)
	if err != nil {
		return Definition{}, err
	}
	for _, d := range list {
		if strings.EqualFold(d.Name, name) {
			return d, nil
		}
	}
	return Definition{}, ErrNoDefinition
}

// Definitions are those with these names, or all.
func (c *Client) Definitions(ctx context.Context, names ...string) ([]Definition, error) {
	return ask(ctx, c, func(ctx context.Context, api *client.Client) ([]Definition, error) {
		return api.ResourceDefinitions.GetAll(ctx, client.RDGetAllRequest{ResourceDefinitions: names, WithVolumeDefinitions: true})
	})
}

// CreateDefinition makes one with these properties, in one step.
func (c *Client) CreateDefinition(ctx context.Context, name, group string, props map[string]string) error {
	return tell(ctx, c, func(ctx context.Context, api *client.Client) error {
		return api.ResourceDefinitions.Create(ctx, client.ResourceDefinitionCreate{
			ResourceDefinition: client.ResourceDefinition{Name: name, ResourceGroupName: group, Props: props}})
	})
}

// ModifyDefinition sets and removes properties, in one step.
func (c *Client) ModifyDefinition(ctx context.Context, name string, set map[string]string, remove ...string) error {
	return tell(ctx, c, func(ctx context.Context, api *client.Client) error {
		return api.ResourceDefinitions.Modify(ctx, name, client.GenericPropsModify{OverrideProps: set, DeleteProps: remove})
	})
}

// DeleteDefinition removes the definition, its resources and their data.
func (c *Client) DeleteDefinition(ctx context.Context, name string) error {
	return tell(ctx, c, func(ctx context.Context, api *client.Client) error { return api.ResourceDefinitions.Delete(ctx, name) })
}

// CreateVolume makes volume 0.
func (c *Client) CreateVolume(ctx context.Context, name string, sizeKiB int64) error {
	zero := int32(0)
	return tell(ctx, c, func(ctx context.Context, api *client.Client) error {
		return api.ResourceDefinitions.CreateVolumeDefinition(ctx, name, client.VolumeDefinitionCreate{
			VolumeDefinition: client.VolumeDefinition{VolumeNumber: &zero, SizeKib: uint64(sizeKiB)}})
	})
}

// ResizeVolume gives volume 0 another size.
func (c *Client) ResizeVolume(ctx context.Context, name string, sizeKiB int64) error {
	return tell(ctx, c, func(ctx context.Context, api *client.Client) error {
		return api.ResourceDefinitions.ModifyVolumeDefinition(ctx, name, 0, client.VolumeDefinitionModify{SizeKib: uint64(sizeKiB)})
	})
}

// Autoplace makes as many replicas as the resource group asks for.
func (c *Client) Autoplace(ctx context.Context, name string) error {
	return tell(ctx, c, func(ctx context.Context, api *client.Client) error {
		return api.Resources.Autoplace(ctx, name, client.AutoPlaceRequest{})
	})
}

// Resources are those of the definition with this name, or all.
func (c *Client) Resources(ctx context.Context, names ...string) ([]Resource, error) {
	all, err := ask(ctx, c, func(ctx context.Context, api *client.Client) ([]Resource, error) {
		return api.Resources.GetResourceView(ctx, &client.ListOpts{Resource: names})
	})
	if err != nil || len(names) == 0 {
		return all, err
	}
	var of []Resource
	for _, r := range all {
		for _, name := range names {
			if strings.EqualFold(r.Name, name) {
				of = append(of, r)
			}
		}
	}
	return of, nil
}

// MakeAvailable makes the volume's device be there on a node.
func (c *Client) MakeAvailable(ctx context.Context, name, node string, diskful bool) error {
	return tell(ctx, c, func(ctx context.Context, api *client.Client) error {
		return api.Resources.MakeAvailable(ctx, name, node, client.ResourceMakeAvailable{Diskful: diskful})
	})
}

// DeleteResource takes the resource from a node; one that is not there is no
// error.
func (c *Client) DeleteResource(ctx context.Context, name, node string) error {
	err := tell(ctx, c, func(ctx context.Context, api *client.Client) error { return api.Resources.Delete(ctx, name, node) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// ConnectionProps are the properties of the connection of two nodes.
func (c *Client) ConnectionProps(ctx context.Context, name, a, b string) (map[string]string, error) {
	return ask(ctx, c, func(ctx context.Context, api *client.Client) (map[string]string, error) {
		got, err := api.Connections.GetResourceConnection(ctx, name, a, b)
		if err != nil {
			return nil, err
		}
		return got.Props, nil
	})
}

// ModifyConnection sets and removes properties of the connection of two nodes.
func (c *Client) ModifyConnection(ctx context.Context, name, a, b string, set map[string]string, remove ...string) error {
	return tell(ctx, c, func(ctx context.Context, api *client.Client) error {
		return api.Connections.SetResourceConnection(ctx, name, a, b, client.GenericPropsModify{OverrideProps: set, DeleteProps: remove})
	})
}

// Group finds a resource group.
func (c *Client) Group(ctx context.Context, name string) (client.ResourceGroup, error) {
	return ask(ctx, c, func(ctx context.Context, api *client.Client) (client.ResourceGroup, error) {
		return api.ResourceGroups.Get(ctx, name)
	})
}

// Space says how much the next volume of a resource group may have.
func (c *Client) Space(ctx context.Context, group string) (client.QuerySizeInfoResponse, error) {
	return ask(ctx, c, func(ctx context.Context, api *client.Client) (client.QuerySizeInfoResponse, error) {
		return api.ResourceGroups.QuerySizeInfo(ctx, group, client.QuerySizeInfoRequest{})
	})
}

// StoragePools are all of the cluster.
func (c *Client) StoragePools(ctx context.Context) ([]client.StoragePool, error) {
	return ask(ctx, c, func(ctx context.Context, api *client.Client) ([]client.StoragePool, error) {
		return api.Nodes.GetStoragePoolView(ctx)
	})
}

// Nodes are all of the cluster.
func (c *Client) Nodes(ctx context.Context) ([]client.Node, error) {
	return ask(ctx, c, func(ctx context.Context, api *client.Client) ([]client.Node, error) { return api.Nodes.GetAll(ctx) })
}
