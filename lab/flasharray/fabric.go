package flasharray

import (
	"fmt"
	"slices"
)

func (a *Array) getPods(r *request) (any, *failure) {
	names := r.list("names")
	for _, n := range names {
		if a.pods[key(n)] == nil {
			return nil, refuse(n, notExist, "Pod")
		}
	}
	var found []object
	for _, k := range sortedKeys(a.pods) {
		if len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return key(n) == k }) {
			continue
		}
		p := a.pods[k]
		o := object{"id": p.ID, "name": p.Name, "destroyed": false, "array_count": 1, "quota_limit": nil,
			"space": a.space(p.Name)}
		if p.QuotaBytes > 0 {
			o["quota_limit"] = p.QuotaBytes
		}
		found = append(found, o)
	}
	return a.page(r, found, nil)
}

// space counts volumes as full: the stand-in does not know what was written.
func (a *Array) space(podName string) object {
	used := a.provisioned(podName)
	return object{"total_provisioned": used, "total_used": used, "total_physical": used, "virtual": used, "used_provisioned": used}
}

func (a *Array) getArrays(*request) (any, *failure) {
	return items(object{"id": "a-" + a.o.Name, "name": a.o.Name, "os": "Purity//FA", "version": "6.6.10",
		"capacity": a.o.CapacityBytes, "space": a.wholeSpace()}), nil
}

func (a *Array) getArraySpace(*request) (any, *failure) {
	return items(object{"id": "a-" + a.o.Name, "name": a.o.Name, "capacity": a.o.CapacityBytes, "parity": 1.0, "space": a.wholeSpace()}), nil
}

func (a *Array) wholeSpace() object {
	var used int64
	for _, v := range a.volumes {
		used += v.Bytes
	}
	return object{"total_provisioned": used, "total_used": used, "total_physical": used}
}

// getInterfaces lists a management port, the portals, and one portal that is
// out of service.
func (a *Array) getInterfaces(r *request) (any, *failure) {
	f, bad := parseFilter(r.query.Get("filter"))
	if bad != nil {
		return nil, bad
	}
	all := []object{a.networkInterface("ct0.eth0", "192.0.2.1", true, "management")}
	for i, address := range a.o.Portals {
		all = append(all, a.networkInterface(fmt.Sprintf("ct%d.eth%d", i%2, 4+i/2), address, true, "nvme-tcp"))
	}
	all = append(all, a.networkInterface("ct1.eth9", "192.0.2.9", false, "nvme-tcp"))
	return a.page(r, slices.DeleteFunc(all, func(o object) bool { return !f.matches(o) }), nil)
}

func (a *Array) networkInterface(name, address string, enabled bool, service string) object {
	return object{"name": name, "enabled": enabled, "interface_type": "eth", "services": []string{service}, "speed": int64(25000000000),
		"eth": object{"address": address, "netmask": "255.255.255.0", "mtu": 9000, "subtype": "physical"}}
}

func (a *Array) subsystem(r *request) string {
	if a.o.SubsystemFor != nil {
		return a.o.SubsystemFor(r.caller)
	}
	return a.o.SubsystemNQN
}

// getPorts lists one port for each portal; each has the array's one NQN.
func (a *Array) getPorts(r *request) (any, *failure) {
	f, bad := parseFilter(r.query.Get("filter"))
	if bad != nil {
		return nil, bad
	}
	var found []object
	for i, address := range a.o.Portals {
		o := object{"name": fmt.Sprintf("CT%d.ETH%d", i%2, 4+i/2), "nqn": a.subsystem(r), "portal": address + ":4420",
			"iqn": nil, "wwn": nil, "failover": nil}
		if f.matches(o) {
			found = append(found, o)
		}
	}
	return a.page(r, found, nil)
}
