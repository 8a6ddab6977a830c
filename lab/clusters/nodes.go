package clusters

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/clusters/played"
	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/lab/linstor"
)

// Nodes are the satellites. State of what the tools tell is that of the
// embedded cluster.
type Nodes struct {
	drbdsim.Cluster
	ctx     context.Context
	hosts   []string // of the lab; other nodes have no devices
	root    func(host string) (string, error)
	devices map[place]*device
	// last is where each volume was made available last.
	last map[string]string
}

// place is a volume on a node.
type place struct{ resource, node string }

func newNodes(ctx context.Context, state drbdsim.Cluster, hosts []string, root func(string) (string, error)) (*Nodes, error) {
	// What is played ends with Close, not with the time of who started it.
	n := &Nodes{Cluster: state, ctx: context.WithoutCancel(ctx), hosts: hosts, root: root, devices: map[place]*device{}, last: map[string]string{}}
	return n, os.MkdirAll(n.File(""), 0o755)
}

// File has the data of a volume.
func (n *Nodes) File(resource string) string { return filepath.Join(n.Dir, "data", resource) }

// Device is the path of a volume on every node that has it.
func Device(resource string) string { return "/dev/drbd/by-res/" + resource + "/0" }

// minor of the volume's device, on every node.
func minor(r linstor.Resource) int { return 1000 + r.Minor }

// hostRoot finds a host of the lab, as this machine sees it now.
func (r *Running) hostRoot(name string) (string, error) {
	pid, err := lab.FindHost(r.lab.Dir(), name)
	if err != nil {
		return "", err
	}
	root := "/proc/" + pid + "/root"
	_, err = os.Stat(root + played.Marker)
	return root, err
}

// introduce prepares a host for the cluster.
func (r *Running) introduce(h *lab.Host, ca []byte) error {
	return errors.Join(h.WriteFile(played.Marker, []byte(r.Dir+"\n"), 0o644), h.WriteFile(caFile, ca, 0o644))
}

// Deploy implements linstor.Satellites.
func (n *Nodes) Deploy(r linstor.Resource) error {
	if err := n.store(r); err != nil {
		return err
	}
	err := n.Change(func(s *drbdsim.State) error {
		if s.Resources[r.Name] == nil {
			s.Resources[r.Name] = &drbdsim.Resource{Minor: minor(r), SizeBytes: r.SizeBytes, Volumes: 1, Protocol: "C", Hosts: map[string]*drbdsim.Replica{}}
		}
		on := s.Resources[r.Name].Hosts
		if on[r.Node] == nil {
			on[r.Node] = &drbdsim.Replica{Role: drbdsim.Secondary, Protocol: "C"}
		}
		on[r.Node].Disk = "Diskless"
		if r.Diskful {
			on[r.Node].Disk = "UpToDate"
		}
		return nil
	})
	at := place{r.Name, r.Node}
	if err != nil || n.devices[at] != nil || !slices.Contains(n.hosts, r.Node) {
		return err
	}
	root, err := n.root(r.Node)
	if err != nil {
		return err
	}
	d := &device{host: r.Node, root: root, resource: r.Name, minor: minor(r)}
	if err := d.appear(n.ctx, n.Dir, n.File(r.Name)); err != nil {
		return errors.Join(err, d.disappear(n.ctx, n.Dir))
	}
	n.devices[at] = d
	return nil
}

// store makes the file that is all replicas of a volume.
func (n *Nodes) store(r linstor.Resource) error {
	f, err := os.OpenFile(n.File(r.Name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < r.SizeBytes {
		err = f.Truncate(r.SizeBytes)
	}
	return errors.Join(err, f.Close())
}

// Remove implements linstor.Satellites.
func (n *Nodes) Remove(r linstor.Resource) error {
	at := place{r.Name, r.Node}
	if holder, err := n.holder(at); err != nil || holder != "" {
		return errors.Join(err, refusal(holder, at))
	}
	err := n.Change(func(s *drbdsim.State) error {
		if res := s.Resources[r.Name]; res != nil {
			if delete(res.Hosts, r.Node); len(res.Hosts) == 0 {
				delete(s.Resources, r.Name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if d := n.devices[at]; d != nil {
		delete(n.devices, at)
		if err := d.disappear(n.ctx, n.Dir); err != nil {
			return err
		}
	}
	if len(r.Peers) > 0 {
		return nil
	}
	delete(n.last, r.Name)
	return os.RemoveAll(n.File(r.Name))
}

func refusal(holder string, at place) error {
	if holder == "" {
		return nil
	}
	return fmt.Errorf("resource %s on %s: device is held open by %s", at.resource, at.node, holder)
}

// Resize implements linstor.Satellites.
func (n *Nodes) Resize(on []linstor.Resource) error {
	for _, r := range on {
		if err := os.Truncate(n.File(r.Name), r.SizeBytes); err != nil {
			return err
		}
		if d := n.devices[place{r.Name, r.Node}]; d != nil {
			if err := d.resize(n.ctx); err != nil {
				return err
			}
		}
		err := n.Change(func(s *drbdsim.State) error {
			s.Resources[r.Name].SizeBytes = r.SizeBytes
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// InUse implements linstor.Satellites.
func (n *Nodes) InUse(r linstor.Resource) (bool, error) {
	holder, err := n.holder(place{r.Name, r.Node})
	return holder != "", err
}

func (n *Nodes) holder(at place) (string, error) {
	d := n.devices[at]
	if d == nil {
		return "", nil
	}
	return d.holder()
}

func (n *Nodes) close() error {
	var errs []error
	for _, d := range n.devices {
		errs = append(errs, d.disappear(n.ctx, n.Dir))
	}
	return errors.Join(errs...)
}
