package flasharray

import "slices"

func (a *Array) getGroups(r *request) (any, *failure) {
	names := r.list("names")
	for _, n := range names {
		if a.groups[key(n)] == nil {
			return nil, refuse(n, notExist, "Host group")
		}
	}
	var found []object
	for _, k := range sortedKeys(a.groups) {
		if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return key(n) == k }) {
			found = append(found, object{"name": a.groups[k].Name, "host_count": len(a.members(k)), "is_local": true})
		}
	}
	return a.page(r, found, nil)
}

func (a *Array) postGroups(r *request) (any, *failure) {
	names := r.list("names")
	if len(names) != 1 {
		return nil, refuse("", "The stand-in creates one host group at a time.")
	}
	if bad := checkName("host group", names[0]); bad != nil {
		return nil, bad
	}
	if a.groups[key(names[0])] != nil {
		return nil, refuse(names[0], alreadyExists, "Host group")
	}
	a.groups[key(names[0])] = &hostGroup{Name: names[0]}
	return items(object{"name": names[0], "host_count": 0}), nil
}

// membership is one host in one group.
func (a *Array) membership(r *request) (h *host, group string, bad *failure) {
	groups, hosts := r.list("group_names"), r.list("member_names")
	if len(groups) != 1 || len(hosts) != 1 {
		return nil, "", refuse("", "One of group_names and one of member_names must be given.")
	}
	if h = a.hosts[key(hosts[0])]; h == nil {
		return nil, "", refuse(hosts[0], notExist, "Host")
	}
	if a.groups[key(groups[0])] == nil {
		return nil, "", refuse(groups[0], notExist, "Host group")
	}
	return h, groups[0], nil
}

func (a *Array) getGroupHosts(r *request) (any, *failure) {
	groups, hosts := r.list("group_names"), r.list("member_names")
	for _, n := range groups {
		if a.groups[key(n)] == nil {
			return nil, refuse(n, notExist, "Host group")
		}
	}
	named := func(list []string, k string) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(n string) bool { return key(n) == k })
	}
	var found []object
	for _, k := range sortedKeys(a.hosts) {
		if g := a.hosts[k].Group; g != "" && named(groups, g) && named(hosts, k) {
			found = append(found, object{"group": object{"name": a.groups[g].Name}, "member": object{"name": a.hosts[k].Name}})
		}
	}
	return a.page(r, found, nil)
}

func (a *Array) postGroupHosts(r *request) (any, *failure) {
	h, group, bad := a.membership(r)
	if bad != nil {
		return nil, bad
	}
	if bad := a.join(h, group); bad != nil {
		return nil, bad
	}
	return items(object{"group": object{"name": group}, "member": object{"name": h.Name}}), a.show()
}

func (a *Array) deleteGroupHosts(r *request) (any, *failure) {
	h, group, bad := a.membership(r)
	if bad != nil {
		return nil, bad
	}
	if h.Group != key(group) {
		return nil, refuse(h.Name, notExist, "Host group member")
	}
	h.Group = ""
	return nil, a.show()
}
