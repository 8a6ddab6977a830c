package linstor

import (
	"fmt"
	"net/http"
	"slices"
)

// place is where a replica may go.
type place struct {
	node *node
	pool *Pool
}

// places are the online nodes without the resource that have room, in the order
// of their names.
func (c *Controller) places(g *group, d *definition, sizeKiB int64) (list []place) {
	for _, n := range c.byName(nil) {
		if !n.online || d != nil && d.resources[upper(n.name)] != nil {
			continue
		}
		i := slices.IndexFunc(n.pools, func(p *Pool) bool {
			return (len(g.Pools) == 0 || slices.Contains(g.Pools, p.Name)) && p.TotalKiB-p.used >= sizeKiB
		})
		if i >= 0 {
			list = append(list, place{n, n.pools[i]})
		}
	}
	return list
}

func (c *Controller) spawn(q *request) answer {
	var body struct {
		Name        string            `json:"resource_definition_name"`
		Sizes       []int64           `json:"volume_sizes"`
		Partial     bool              `json:"partial"`
		Definitions bool              `json:"definitions_only"`
		Filter      object            `json:"select_filter"`
		Props       map[string]string `json:"resource_definition_props"`
	}
	g, bad := c.group(q)
	if bad == nil {
		bad = q.read(&body)
	}
	if bad == nil && len(body.Sizes) != 1 {
		bad = failed(codeRequest, "The stand-in makes one volume.")
	}
	if bad != nil {
		return bad.answer()
	}
	d, bad := c.define(body.Name, g.Name, body.Props)
	if bad == nil {
		bad = c.addVolume(d, body.Sizes[0])
	}
	if bad == nil && !body.Definitions {
		bad = c.placeReplicas(g, d)
	}
	if bad != nil {
		return bad.answer()
	}
	return done(http.StatusCreated, "Resource successfully spawned.")
}

func (c *Controller) autoplace(q *request, d *definition) answer {
	bad := q.read(&struct {
		Diskless bool     `json:"diskless_on_remaining"`
		Filter   object   `json:"select_filter"`
		Layers   []string `json:"layer_list"`
	}{})
	if bad == nil && d.volume == nil {
		bad = failed(codeNoVolume, "Resource definition '%s' has no volume definition.", d.name)
	}
	g := c.groups[upper(d.group)]
	if bad == nil && g == nil {
		bad = failed(codeNoGroup, "Resource group '%s' not found.", d.group)
	}
	if bad == nil {
		bad = c.placeReplicas(g, d)
	}
	if bad != nil {
		return bad.answer()
	}
	return done(http.StatusCreated, "Resource '%s' successfully autoplaced.", d.name)
}

// placeReplicas brings the number of replicas to that of the group.
func (c *Controller) placeReplicas(g *group, d *definition) *failure {
	missing := g.PlaceCount - len(d.replicas())
	if missing <= 0 {
		return nil
	}
	places := c.places(g, d, d.volume.sizeKiB)
	if len(places) < missing {
		return failed(codeNoNodes, "Not enough available nodes: %d of %d have %d KiB free.", len(places), missing, d.volume.sizeKiB)
	}
	for _, p := range places[:missing] {
		if bad := c.deploy(d, p.node, p.pool); bad != nil {
			return bad
		}
	}
	return c.breakTie(d, nil)
}

func (c *Controller) makeAvailable(q *request, d *definition) answer {
	var body struct {
		Diskful bool     `json:"diskful"`
		Layers  []string `json:"layer_list"`
	}
	if bad := q.read(&body); bad != nil {
		return bad.answer()
	}
	n := c.nodes[upper(q.PathValue("node"))]
	switch {
	case n == nil:
		return failed(codeNoNode, "Node '%s' not found.", q.PathValue("node")).answer()
	case !n.online:
		return failed(codeOffline, "No active connection to satellite '%s'.", n.name).answer()
	case d.deleting:
		return failed(codeNoDef, "Resource definition '%s' is being deleted.", d.name).answer()
	case len(d.replicas()) == 0:
		return failed(codeNoNodes, "Resource '%s' has no replica.", d.name).answer()
	}
	bad := c.provide(d, n, body.Diskful)
	if bad == nil {
		bad = c.tell(d, d.resources[upper(n.name)], Satellites.Available)
	}
	if bad != nil {
		return bad.answer()
	}
	return done(http.StatusOK, "Resource '%s' available on node '%s'.", d.name, n.name)
}

func (c *Controller) provide(d *definition, n *node, diskful bool) *failure {
	r := d.resources[upper(n.name)]
	switch {
	case r != nil && (r.pool != nil || !diskful):
		r.tie = false
		return c.tell(d, r, Satellites.Deploy)
	case !diskful:
		return c.deploy(d, n, nil)
	case len(n.pools) == 0 || n.pools[0].TotalKiB-n.pools[0].used < d.volume.sizeKiB:
		return failed(codeNoNodes, "Node '%s' has no storage pool with enough room.", n.name)
	case r != nil: // the diskless resource gets a disk
		delete(d.resources, upper(n.name))
	}
	return c.deploy(d, n, n.pools[0])
}

func (c *Controller) resource(q *request, d *definition) (*resource, *failure) {
	r := d.resources[upper(q.PathValue("node"))]
	if r == nil {
		return nil, failed(codeNoRes, "Resource '%s' on node '%s' not found.", d.name, q.PathValue("node"))
	}
	return r, nil
}

func (c *Controller) deleteResource(q *request, d *definition) answer {
	r, bad := c.resource(q, d)
	switch {
	case bad != nil:
	case c.inUse(d, r):
		bad = failed(codeInUse, "Resource '%s' on node '%s' is still in use.", d.name, r.node.name)
	case !r.node.online:
		bad = failed(codeOffline, "No active connection to satellite '%s'.", r.node.name)
	default:
		if bad = c.undeploy(d, r); bad == nil {
			bad = c.breakTie(d, r.node)
		}
	}
	if bad != nil {
		return bad.answer()
	}
	return done(http.StatusOK, "Resource '%s' on node '%s' deleted.", d.name, r.node.name)
}

func (c *Controller) listResources(_ *request, d *definition) answer {
	list := []object{}
	for _, r := range d.sorted() {
		list = append(list, c.resourceJSON(d, r))
	}
	return jsonAnswer(http.StatusOK, list)
}

func (c *Controller) getResource(q *request, d *definition) answer {
	r, bad := c.resource(q, d)
	if bad != nil {
		return bad.answer()
	}
	return jsonAnswer(http.StatusOK, c.resourceJSON(d, r))
}

func (c *Controller) resourceJSON(d *definition, r *resource) object {
	o := object{"name": d.name, "node_name": r.node.name, "uuid": r.uuid, "flags": r.flags(), "props": object{},
		"create_timestamp": r.created.UnixMilli()}
	if r.node.online { // of another nobody knows
		o["state"] = object{"in_use": c.inUse(d, r)}
	}
	return o
}

func (c *Controller) viewResources(q *request) answer {
	list := []object{}
	wanted, on := query(q, "resources"), query(q, "nodes")
	for _, d := range c.defs {
		if d.volume == nil || !wanted(d.name) {
			continue
		}
		for _, r := range d.sorted() {
			if on(r.node.name) {
				o := c.resourceJSON(d, r)
				o["volumes"] = []object{c.volumeJSON(d, r)}
				list = append(list, o)
			}
		}
	}
	return jsonAnswer(http.StatusOK, list)
}

func (c *Controller) volumeJSON(d *definition, r *resource) object {
	v := object{"volume_number": 0, "uuid": d.volume.uuid, "device_path": fmt.Sprintf("/dev/drbd%d", 1000+d.volume.minor),
		"storage_pool_name": "DfltDisklessStorPool", "provider_kind": "DISKLESS", "state": object{"disk_state": "Diskless"}}
	if r.pool != nil {
		v["storage_pool_name"], v["provider_kind"] = r.pool.Name, r.pool.Kind
		v["allocated_size_kib"], v["state"] = r.took, object{"disk_state": "UpToDate"}
	}
	if r.node.online {
		v["usable_size_kib"] = c.usable(d)
	}
	v["layer_data_list"] = []object{{"type": "DRBD", "data": object{"device_path": v["device_path"], "usable_size_kib": c.usable(d)}}}
	return v
}

func (c *Controller) ends(q *request, d *definition) (a, b *resource, bad *failure) {
	a, b = d.resources[upper(q.PathValue("a"))], d.resources[upper(q.PathValue("b"))]
	if a == nil || b == nil || a == b {
		return nil, nil, failed(codeNoRes, "Resource '%s' is not on both of '%s' and '%s'.", d.name, q.PathValue("a"), q.PathValue("b"))
	}
	return a, b, nil
}

func (c *Controller) getConnection(q *request, d *definition) answer {
	a, b, bad := c.ends(q, d)
	if bad != nil {
		return bad.answer()
	}
	props := d.connections[pairOf(a.node.name, b.node.name)]
	if props == nil {
		props = map[string]string{}
	}
	return jsonAnswer(http.StatusOK, object{"node_a": a.node.name, "node_b": b.node.name, "props": props})
}

func (c *Controller) modifyConnection(q *request, d *definition) answer {
	var change propsChange
	if bad := q.read(&change); bad != nil {
		return bad.answer()
	}
	a, b, bad := c.ends(q, d)
	if bad != nil {
		return bad.answer()
	}
	p := pairOf(a.node.name, b.node.name)
	if d.connections[p] == nil {
		d.connections[p] = map[string]string{}
	}
	change.apply(d.connections[p])
	if bad := c.twoPrimaries(d); bad != nil {
		return bad.answer()
	}
	return done(http.StatusOK, "Resource connection changed.")
}
