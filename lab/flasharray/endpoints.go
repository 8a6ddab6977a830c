package flasharray

import "strings"

// endpoint is one method of one path.
type endpoint struct {
	do     func(*Array, *request) (any, *failure)
	params []string
	since  int // the REST version 2.x that brought it
}

const paging = " filter limit continuation_token sort total_item_count offset"

func ep(do func(*Array, *request) (any, *failure), params string) endpoint {
	return endpoint{do: do, params: strings.Fields(params)}
}

func since(minor int, e endpoint) endpoint {
	e.since = minor
	return e
}

// endpoints of REST 2.x by method and path.
func endpoints() map[string]endpoint {
	const ends = "host_names host_group_names volume_names volume_ids"
	return map[string]endpoint{
		"GET /volumes":              ep((*Array).getVolumes, "names ids destroyed"+paging),
		"POST /volumes":             ep((*Array).postVolumes, "names overwrite with_default_protection"),
		"PATCH /volumes":            ep((*Array).patchVolumes, "names ids truncate"),
		"DELETE /volumes":           ep((*Array).deleteVolumes, "names ids"),
		"GET /volumes/tags":         since(2, ep((*Array).getTags, "resource_names resource_ids resource_destroyed namespaces keys"+paging)),
		"PUT /volumes/tags/batch":   since(2, ep((*Array).putTags, "resource_names resource_ids")),
		"DELETE /volumes/tags":      since(2, ep((*Array).deleteTags, "resource_names resource_ids namespaces keys")),
		"GET /connections":          ep((*Array).getConnections, ends+paging),
		"POST /connections":         ep((*Array).postConnections, ends),
		"DELETE /connections":       ep((*Array).deleteConnections, ends),
		"GET /hosts":                ep((*Array).getHosts, "names"+paging),
		"POST /hosts":               ep((*Array).postHosts, "names"),
		"PATCH /hosts":              ep((*Array).patchHosts, "names"),
		"DELETE /hosts":             ep((*Array).deleteHosts, "names"),
		"GET /host-groups":          ep((*Array).getGroups, "names"+paging),
		"POST /host-groups":         ep((*Array).postGroups, "names"),
		"GET /host-groups/hosts":    ep((*Array).getGroupHosts, "group_names member_names"+paging),
		"POST /host-groups/hosts":   ep((*Array).postGroupHosts, "group_names member_names"),
		"DELETE /host-groups/hosts": ep((*Array).deleteGroupHosts, "group_names member_names"),
		"GET /admins":               ep((*Array).getAdmins, "names"+paging),
		"GET /pods":                 since(1, ep((*Array).getPods, "names destroyed"+paging)),
		"GET /arrays":               ep((*Array).getArrays, strings.TrimSpace(paging)),
		"GET /arrays/space":         since(2, ep((*Array).getArraySpace, strings.TrimSpace(paging))),
		"GET /network-interfaces":   since(4, ep((*Array).getInterfaces, "names"+paging)),
		"GET /ports":                since(2, ep((*Array).getPorts, "names"+paging)),
	}
}
