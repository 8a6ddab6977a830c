package flasharray

import "slices"

type hostBody struct {
	Name      *string
	NQNs      []string   `json:"nqns"`
	IQNs      []string   `json:"iqns"`
	WWNs      []string   `json:"wwns"`
	AddNQNs   []string   `json:"add_nqns"`
	HostGroup *reference `json:"host_group"`
}

func (a *Array) getHosts(r *request) (any, *failure) {
	f, bad := parseFilter(r.query.Get("filter"))
	if bad != nil {
		return nil, bad
	}
	names := r.list("names")
	for _, n := range names {
		if a.hosts[key(n)] == nil {
			return nil, refuse(n, notExist, "Host")
		}
	}
	var found []object
	for _, k := range sortedKeys(a.hosts) {
		if len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return key(n) == k }) {
			continue
		}
		if o := a.hostObject(k); f.matches(o) {
			found = append(found, o)
		}
	}
	return a.page(r, found, nil)
}

func (a *Array) hostObject(k string) object {
	h := a.hosts[k]
	o := object{"name": h.Name, "nqns": orEmpty(h.NQNs), "iqns": orEmpty(h.IQNs), "wwns": orEmpty(h.WWNs),
		"is_local": true, "connection_count": len(a.seenBy(k)), "host_group": object{}}
	if h.Group != "" {
		o["host_group"] = object{"name": a.groups[h.Group].Name}
	}
	return o
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (a *Array) postHosts(r *request) (any, *failure) {
	names := r.list("names")
	if len(names) != 1 {
		return nil, refuse("", "The stand-in creates one host at a time.")
	}
	var body hostBody
	if bad := r.decode(&body); bad != nil {
		return nil, bad
	}
	if bad := checkName("host", names[0]); bad != nil {
		return nil, bad
	}
	if a.hosts[key(names[0])] != nil {
		return nil, refuse(names[0], alreadyExists, "Host")
	}
	h := &host{Name: names[0], NQNs: body.NQNs, IQNs: body.IQNs, WWNs: body.WWNs}
	if bad := a.checkIdentities(h); bad != nil {
		return nil, bad
	}
	a.hosts[key(h.Name)] = h
	return items(a.hostObject(key(h.Name))), nil
}

// checkIdentities: a host has one kind of identity, and no two hosts share one.
func (a *Array) checkIdentities(h *host) *failure {
	kinds := 0
	for kind, of := range identities {
		mine := of(h)
		if len(mine) == 0 {
			continue
		}
		kinds++
		for _, k := range sortedKeys(a.hosts) {
			other := a.hosts[k]
			shared := func(id string) bool { return slices.Contains(mine, id) }
			if other != h && slices.ContainsFunc(of(other), shared) {
				return refuse(h.Name, inUse, kind)
			}
		}
	}
	if kinds > 1 {
		return refuse(h.Name, "A host can only have one kind of NQNs, IQNs and WWNs.")
	}
	return nil
}

var identities = map[string]func(*host) []string{
	"NQN": func(h *host) []string { return h.NQNs },
	"IQN": func(h *host) []string { return h.IQNs },
	"WWN": func(h *host) []string { return h.WWNs },
}

func (a *Array) oneHost(r *request) (*host, *failure) {
	names := r.list("names")
	if len(names) != 1 {
		return nil, refuse("", "The stand-in changes one host at a time.")
	}
	h := a.hosts[key(names[0])]
	if h == nil {
		return nil, refuse(names[0], notExist, "Host")
	}
	return h, nil
}

func (a *Array) patchHosts(r *request) (any, *failure) {
	h, bad := a.oneHost(r)
	if bad != nil {
		return nil, bad
	}
	var body hostBody
	if bad := r.decode(&body); bad != nil {
		return nil, bad
	}
	changed := *h
	if body.NQNs != nil {
		changed.NQNs = body.NQNs
	}
	changed.NQNs = append(slices.Clone(changed.NQNs), body.AddNQNs...)
	before := *h
	*h = changed
	if bad := a.checkIdentities(h); bad != nil {
		*h = before
		return nil, bad
	}
	if body.HostGroup != nil {
		if bad := a.join(h, body.HostGroup.Name); bad != nil {
			*h = before
			return nil, bad
		}
	}
	return items(a.hostObject(key(h.Name))), a.show()
}

// join makes h a member of a group, "" of none.
func (a *Array) join(h *host, group string) *failure {
	switch {
	case group == "":
		h.Group = ""
		return nil
	case a.groups[key(group)] == nil:
		return refuse(group, notExist, "Host group")
	case h.Group != "" && h.Group != key(group):
		return refuse(h.Name, "Host already belongs to a host group.")
	}
	h.Group = key(group)
	return nil
}

func (a *Array) deleteHosts(r *request) (any, *failure) {
	h, bad := a.oneHost(r)
	if bad != nil {
		return nil, bad
	}
	if len(a.seenBy(key(h.Name))) > 0 {
		return nil, refuse(h.Name, hostConnected)
	}
	delete(a.hosts, key(h.Name))
	return nil, nil
}
