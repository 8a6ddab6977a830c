package flasharray

import (
	"slices"
)

// ends are the two ends of connections that a call names.
type ends struct {
	hosts, groups []string // keys
	volumes       []*volume
	anyHost       bool // neither hosts nor groups were named
	anyVolume     bool
}

func (a *Array) ends(r *request) (ends, *failure) {
	var e ends
	for _, n := range r.list("host_names") {
		if a.hosts[key(n)] == nil {
			return e, refuse(n, notExist, "Host")
		}
		e.hosts = append(e.hosts, key(n))
	}
	for _, n := range r.list("host_group_names") {
		if a.groups[key(n)] == nil {
			return e, refuse(n, notExist, "Host group")
		}
		e.groups = append(e.groups, key(n))
	}
	found, wanted, bad := a.volumesBy(r, "volume_names", "volume_ids")
	if bad != nil {
		return e, bad
	}
	if !wanted {
		found = a.sorted()
	}
	e.volumes, e.anyVolume = found, !wanted
	e.anyHost = len(e.hosts)+len(e.groups) == 0
	return e, nil
}

// pair is the one host or group and the one volume of a call that changes a
// connection.
func (a *Array) pair(r *request) (h, g string, v *volume, bad *failure) {
	e, bad := a.ends(r)
	if bad != nil {
		return "", "", nil, bad
	}
	if len(e.hosts)+len(e.groups) != 1 || e.anyVolume || len(e.volumes) != 1 {
		return "", "", nil, refuse("", "One of host_names and host_group_names, and volume_names must be given.")
	}
	if len(e.hosts) == 1 {
		return e.hosts[0], "", e.volumes[0], nil
	}
	return "", e.groups[0], e.volumes[0], nil
}

func (a *Array) getConnections(r *request) (any, *failure) {
	e, bad := a.ends(r)
	if bad != nil {
		return nil, bad
	}
	f, bad := parseFilter(r.query.Get("filter"))
	if bad != nil {
		return nil, bad
	}
	var found []object
	for _, v := range e.volumes {
		for _, c := range a.connectionsOf(v) {
			wanted := e.anyHost || slices.Contains(e.hosts, c.host) || slices.Contains(e.groups, c.group)
			if o := a.connectionObject(c); wanted && f.matches(o) {
				found = append(found, o)
			}
		}
	}
	return a.page(r, found, nil)
}

// connection is one line of the array's list: a host's own, or what a member
// of a host group has through it. A group without members has one without a
// host.
type connection struct {
	host, group string // keys
	volume      *volume
	nsid        uint32
}

func (a *Array) connectionsOf(v *volume) (list []connection) {
	for _, h := range sortedKeys(v.Hosts) {
		list = append(list, connection{h, "", v, v.Hosts[h]})
	}
	for _, g := range sortedKeys(v.Groups) {
		members := a.members(g)
		for _, h := range members {
			list = append(list, connection{h, g, v, v.Groups[g]})
		}
		if len(members) == 0 {
			list = append(list, connection{"", g, v, v.Groups[g]})
		}
	}
	return list
}

func (a *Array) members(group string) (hosts []string) {
	for _, h := range sortedKeys(a.hosts) {
		if a.hosts[h].Group == group {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// connectionObject shows nsid for NVMe hosts from REST 2.27 on and, as the
// array may, leaves it out for host groups; SCSI hosts have a LUN.
func (a *Array) connectionObject(c connection) object {
	o := object{"volume": object{"id": c.volume.ID, "name": c.volume.Name}, "host": object{}, "host_group": object{}}
	if c.group != "" {
		o["host_group"] = object{"name": a.groups[c.group].Name}
	}
	if c.host == "" {
		return o
	}
	h := a.hosts[c.host]
	o["host"] = object{"name": h.Name}
	switch {
	case len(h.NQNs) == 0:
		o["lun"] = c.nsid
	case a.minor >= 27 && c.group == "":
		o["nsid"] = c.nsid
	}
	return o
}

func (a *Array) postConnections(r *request) (any, *failure) {
	h, g, v, bad := a.pair(r)
	if bad != nil {
		return nil, bad
	}
	if v.Destroyed {
		return nil, refuse(v.Name, destroyed)
	}
	if a.connected(v, h, g) {
		return nil, refuse(v.Name, alreadyExists, "Connection")
	}
	if h != "" {
		v.Hosts[h] = a.freeNSID([]string{h})
	} else {
		v.Groups[g] = a.freeNSID(a.members(g))
	}
	a.connectedTo[v] = true
	if bad := a.show(); bad != nil {
		return nil, bad
	}
	var made []object
	for _, c := range a.connectionsOf(v) {
		if c.host == h && h != "" || c.group == g && g != "" {
			made = append(made, a.connectionObject(c))
		}
	}
	return items(made...), nil
}

// connected says whether host h, or any host of group g, reaches v already.
func (a *Array) connected(v *volume, h, g string) bool {
	if g != "" {
		if _, there := v.Groups[g]; there {
			return true
		}
		return slices.ContainsFunc(a.members(g), func(h string) bool { _, there := v.Hosts[h]; return there })
	}
	if _, there := v.Hosts[h]; there {
		return true
	}
	_, there := v.Groups[a.hosts[h].Group]
	return there
}

// freeNSID is the least that none of the hosts uses, so that one is used again
// soon after it became free.
func (a *Array) freeNSID(hosts []string) uint32 {
	used := map[uint32]bool{}
	for _, h := range hosts {
		for _, c := range a.seenBy(h) {
			used[c.nsid] = true
		}
	}
	n := uint32(1)
	for used[n] {
		n++
	}
	return n
}

// seenBy are the connections of one host.
func (a *Array) seenBy(h string) (list []connection) {
	for v := range a.connectedTo {
		if n, there := v.Hosts[h]; there {
			list = append(list, connection{h, "", v, n})
		}
		if g := a.hosts[h].Group; g != "" {
			if n, there := v.Groups[g]; there {
				list = append(list, connection{h, g, v, n})
			}
		}
	}
	return list
}

func (a *Array) deleteConnections(r *request) (any, *failure) {
	h, g, v, bad := a.pair(r)
	if bad != nil {
		return nil, bad
	}
	_, ofHost := v.Hosts[h]
	_, ofGroup := v.Groups[g]
	switch {
	case v.Destroyed:
		return nil, refuse(v.Name, destroyed)
	case !ofHost && !ofGroup:
		return nil, refuse(v.Name, notExist, "Connection")
	}
	delete(v.Hosts, h)
	delete(v.Groups, g)
	if len(v.Hosts)+len(v.Groups) == 0 {
		delete(a.connectedTo, v)
	}
	return nil, a.show()
}
