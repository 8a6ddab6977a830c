package linstor

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	exactSize    = "DrbdOptions/ExactSize"
	allowTwo     = "DrbdOptions/Net/allow-two-primaries"
	diskless     = "DISKLESS"
	drbdDiskless = "DRBD_DISKLESS"
	tieBreaker   = "TIE_BREAKER"
)

type definition struct {
	name, group, uuid string
	port              int
	props             map[string]string
	volume            *volumeDefinition // number 0; nil: none yet
	resources         map[string]*resource
	connections       map[pair]map[string]string
	dual              map[pair]bool // what the data path was told
	deleting          bool
}

type volumeDefinition struct {
	sizeKiB int64
	minor   int
	uuid    string
}

type resource struct {
	node    *node
	id      int
	pool    *Pool // nil: diskless
	tie     bool
	inUse   bool
	created time.Time
	uuid    string
	took    int64 // KiB of the pool
}

// pair of node names in upper case, in order.
type pair [2]string

func pairOf(a, b string) pair {
	a, b = upper(a), upper(b)
	return pair{min(a, b), max(a, b)}
}

func (c *Controller) newDefinition(name, group string, props map[string]string) *definition {
	if props == nil {
		props = map[string]string{}
	}
	return &definition{name: name, group: group, uuid: c.uuid(), port: 7000 + c.next(), props: props,
		resources: map[string]*resource{}, connections: map[pair]map[string]string{}, dual: map[pair]bool{}}
}

func (d *definition) sorted() []*resource {
	return slices.SortedFunc(maps.Values(d.resources), func(a, b *resource) int { return cmp.Compare(a.node.name, b.node.name) })
}

func (d *definition) replicas() (list []*resource) {
	for _, r := range d.sorted() {
		if r.pool != nil {
			list = append(list, r)
		}
	}
	return list
}

// twoPrimaries: two diskless nodes have no connection, so that only what is set
// for the whole resource reaches them.
func (d *definition) twoPrimaries(a, b *resource) bool {
	if d.props[allowTwo] == "yes" {
		return true
	}
	if a.pool == nil && b.pool == nil {
		return false
	}
	return d.connections[pairOf(a.node.name, b.node.name)][allowTwo] == "yes"
}

// usable is the size of the device in KiB.
func (c *Controller) usable(d *definition) int64 {
	size := d.volume.sizeKiB
	if d.props[exactSize] != "" {
		return size
	}
	for _, r := range d.replicas() {
		if e := r.pool.ExtentKiB; e > 0 {
			size = max(size, (d.volume.sizeKiB+e-1)/e*e)
		}
	}
	return size
}

func (r *resource) flags() []string {
	switch {
	case r.pool != nil:
		return []string{}
	case r.tie:
		return []string{diskless, drbdDiskless, tieBreaker}
	}
	return []string{diskless, drbdDiskless}
}

// deploy puts a replica, or with pool nil a diskless client, on a node.
func (c *Controller) deploy(d *definition, n *node, p *Pool) *failure {
	r := &resource{node: n, pool: p, id: len(d.resources), created: time.Now(), uuid: c.uuid()}
	if p != nil {
		r.took = d.volume.sizeKiB
		p.used += r.took
	}
	d.resources[upper(n.name)] = r
	return c.refresh(d)
}

// refresh tells all nodes what peers they have.
func (c *Controller) refresh(d *definition) *failure {
	for _, r := range d.sorted() {
		if bad := c.tell(d, r, Satellites.Deploy); bad != nil {
			return bad
		}
	}
	return c.twoPrimaries(d)
}

// undeploy takes a resource from its node.
func (c *Controller) undeploy(d *definition, r *resource) *failure {
	if bad := c.disconnect(d, r); bad != nil {
		return bad
	}
	if bad := c.tell(d, r, Satellites.Remove); bad != nil {
		return bad
	}
	if r.pool != nil {
		r.pool.used -= r.took
	}
	delete(d.resources, upper(r.node.name))
	return nil
}

// finishDelete removes what can be removed; the rest waits for its nodes.
func (c *Controller) finishDelete(d *definition) *failure {
	for _, r := range d.sorted() {
		if !r.node.online {
			continue
		}
		if bad := c.undeploy(d, r); bad != nil {
			return bad
		}
	}
	if len(d.resources) == 0 {
		delete(c.defs, upper(d.name))
	}
	return nil
}

// breakTie gives two replicas a third voter.
func (c *Controller) breakTie(d *definition, prefer *node) *failure {
	if c.o.NoTieBreaker || len(d.replicas()) != 2 || len(d.resources) != 2 {
		return nil
	}
	for _, n := range c.byName(prefer) {
		if d.resources[upper(n.name)] == nil && n.online {
			if bad := c.deploy(d, n, nil); bad != nil {
				return bad
			}
			d.resources[upper(n.name)].tie = true
			return nil
		}
	}
	return nil
}

// byName are the nodes, the preferred one first.
func (c *Controller) byName(prefer *node) []*node {
	return slices.SortedFunc(maps.Values(c.nodes), func(a, b *node) int {
		if a == prefer || b == prefer {
			return cmp.Compare(rank(b == prefer), rank(a == prefer))
		}
		return cmp.Compare(a.name, b.name)
	})
}

func rank(is bool) int {
	if is {
		return 1
	}
	return 0
}
