package linstor

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

func endpoints() map[string]handler {
	return map[string]handler{
		"GET /v1/controller/version": (*Controller).version,
		"GET /v1/nodes":              (*Controller).listNodes,
		"GET /v1/nodes/{node}":       (*Controller).getNode,
		"GET /v1/view/storage-pools": (*Controller).listPools,

		"GET /v1/resource-groups/{rg}":                  (*Controller).getGroup,
		"POST /v1/resource-groups/{rg}/spawn":           (*Controller).spawn,
		"POST /v1/resource-groups/{rg}/query-size-info": (*Controller).sizeInfo,

		"GET /v1/resource-definitions":         (*Controller).listDefinitions,
		"POST /v1/resource-definitions":        (*Controller).createDefinition,
		"GET /v1/resource-definitions/{rd}":    onDef((*Controller).getDefinition),
		"PUT /v1/resource-definitions/{rd}":    onDef((*Controller).modifyDefinition),
		"DELETE /v1/resource-definitions/{rd}": onDef((*Controller).deleteDefinition),

		"GET /v1/resource-definitions/{rd}/volume-definitions":      onDef((*Controller).listVolumes),
		"POST /v1/resource-definitions/{rd}/volume-definitions":     onDef((*Controller).createVolume),
		"GET /v1/resource-definitions/{rd}/volume-definitions/{nr}": onDef((*Controller).getVolume),
		"PUT /v1/resource-definitions/{rd}/volume-definitions/{nr}": onDef((*Controller).modifyVolume),

		"POST /v1/resource-definitions/{rd}/autoplace":                       onDef((*Controller).autoplace),
		"GET /v1/view/resources":                                             (*Controller).viewResources,
		"GET /v1/resource-definitions/{rd}/resources":                        onDef((*Controller).listResources),
		"GET /v1/resource-definitions/{rd}/resources/{node}":                 onDef((*Controller).getResource),
		"DELETE /v1/resource-definitions/{rd}/resources/{node}":              onDef((*Controller).deleteResource),
		"POST /v1/resource-definitions/{rd}/resources/{node}/make-available": onDef((*Controller).makeAvailable),

		"GET /v1/resource-definitions/{rd}/resource-connections/{a}/{b}": onDef((*Controller).getConnection),
		"PUT /v1/resource-definitions/{rd}/resource-connections/{a}/{b}": onDef((*Controller).modifyConnection),
	}
}

// onDef looks the resource definition up first.
func onDef(h func(*Controller, *request, *definition) answer) handler {
	return func(c *Controller, q *request) answer {
		d := c.defs[upper(q.def())]
		if d == nil {
			return failed(codeNoDef, "Resource definition '%s' not found.", q.def()).answer()
		}
		return h(c, q, d)
	}
}

func (c *Controller) version(*request) answer {
	return jsonAnswer(http.StatusOK, object{"version": "1.33.1", "git_hash": "0", "build_time": "2026-01-01T00:00:00+00:00", "rest_api_version": "1.27.0"})
}

func (c *Controller) listNodes(*request) answer {
	list := []object{}
	for _, n := range c.byName(nil) {
		list = append(list, n.json())
	}
	return jsonAnswer(http.StatusOK, list)
}

func (c *Controller) getNode(q *request) answer {
	n := c.nodes[upper(q.PathValue("node"))]
	if n == nil {
		return failed(codeNoNode, "Node '%s' not found.", q.PathValue("node")).answer()
	}
	return jsonAnswer(http.StatusOK, n.json())
}

func (n *node) json() object {
	status := "ONLINE"
	if !n.online {
		status = "OFFLINE"
	}
	return object{"name": n.name, "type": "Satellite", "connection_status": status, "resource_layers": []string{"DRBD", "STORAGE"}}
}

func (c *Controller) listPools(q *request) answer {
	list := []object{}
	wanted, on := query(q, "storage_pools"), query(q, "nodes")
	for _, n := range c.byName(nil) {
		for _, p := range n.pools {
			if wanted(p.Name) && on(n.name) {
				list = append(list, object{"storage_pool_name": p.Name, "node_name": n.name, "provider_kind": p.Kind,
					"free_capacity": p.TotalKiB - p.used, "total_capacity": p.TotalKiB})
			}
		}
	}
	return jsonAnswer(http.StatusOK, list)
}

// query is a filter of names; one without a value takes all.
func query(q *request, key string) func(string) bool {
	var wanted []string
	for _, v := range q.URL.Query()[key] {
		if v != "" {
			wanted = append(wanted, upper(v))
		}
	}
	return func(name string) bool { return len(wanted) == 0 || slices.Contains(wanted, upper(name)) }
}

func (c *Controller) group(q *request) (*group, *failure) {
	g := c.groups[upper(q.PathValue("rg"))]
	if g == nil {
		return nil, failed(codeNoGroup, "Resource group '%s' not found.", q.PathValue("rg"))
	}
	return g, nil
}

func (c *Controller) getGroup(q *request) answer {
	g, bad := c.group(q)
	if bad != nil {
		return bad.answer()
	}
	filter := object{"place_count": g.PlaceCount}
	if len(g.Pools) > 0 {
		filter["storage_pool_list"] = g.Pools
	}
	return jsonAnswer(http.StatusOK, object{"name": g.Name, "props": object{}, "select_filter": filter})
}

func (c *Controller) sizeInfo(q *request) answer {
	g, bad := c.group(q)
	if bad == nil {
		bad = q.read(&struct {
			Filter object `json:"select_filter"`
		}{})
	}
	if bad != nil {
		return bad.answer()
	}
	places := c.places(g, nil, 0)
	info := object{"max_vlm_size_in_kib": int64(0), "available_size_in_kib": int64(0), "capacity_in_kib": int64(0)}
	if len(places) >= g.PlaceCount {
		var free, total int64
		next := []object{}
		for i, p := range places[:g.PlaceCount] {
			if room := p.pool.TotalKiB - p.pool.used; i == 0 || room < free {
				free, total = room, p.pool.TotalKiB
			}
			next = append(next, object{"node_name": p.node.name, "stor_pool_name": p.pool.Name})
		}
		info = object{"max_vlm_size_in_kib": free, "available_size_in_kib": free, "capacity_in_kib": total, "next_spawn_result": next}
	}
	return jsonAnswer(http.StatusOK, object{"space_info": info})
}

func (c *Controller) listDefinitions(q *request) answer {
	list := []object{}
	wanted := query(q, "resource_definitions")
	whole := q.URL.Query().Get("with_volume_definitions") == "true"
	for _, key := range slices.Sorted(maps.Keys(c.defs)) {
		if d := c.defs[key]; wanted(d.name) && hasProps(d, q.URL.Query()["props"]) {
			list = append(list, d.json(whole))
		}
	}
	return jsonAnswer(http.StatusOK, list)
}

// hasProps: KEY=VALUE, or KEY alone for any value.
func hasProps(d *definition, wanted []string) bool {
	for _, w := range wanted {
		key, value, both := strings.Cut(w, "=")
		has, there := d.props[key]
		if w != "" && (!there || both && has != value) {
			return false
		}
	}
	return true
}

func (d *definition) json(whole bool) object {
	o := object{"name": d.name, "uuid": d.uuid, "resource_group_name": d.group, "props": d.props, "flags": []string{},
		"layer_data": []object{{"type": "DRBD", "data": object{"port": d.port, "peer_slots": 7, "transport_type": "IP"}}}}
	if d.deleting {
		o["flags"] = []string{"DELETE"}
	}
	if whole {
		o["volume_definitions"] = d.volumes()
	}
	return o
}

func (c *Controller) getDefinition(_ *request, d *definition) answer {
	return jsonAnswer(http.StatusOK, d.json(false))
}

func (d *definition) volumes() []object {
	if d.volume == nil {
		return []object{}
	}
	return []object{{"volume_number": 0, "size_kib": d.volume.sizeKiB, "uuid": d.volume.uuid, "props": object{}, "flags": []string{},
		"layer_data": []object{{"type": "DRBD", "data": object{"volume_number": 0, "minor_number": 1000 + d.volume.minor}}}}}
}
