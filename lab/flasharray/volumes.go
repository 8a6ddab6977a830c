package flasharray

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	leastBytes = 1 << 20
	mostBytes  = 4 << 50
	sector     = 512

	// pendingTime is how long the array keeps a destroyed volume.
	pendingTime = 24 * time.Hour
)

type volumeBody struct {
	Provisioned *int64 `json:"provisioned"`
	Destroyed   *bool  `json:"destroyed"`
	Name        *string
	Source      *reference
	Subtype     *string
}

func (a *Array) getVolumes(r *request) (any, *failure) {
	named, wanted, bad := a.namedVolumes(r)
	if bad != nil {
		return nil, bad
	}
	f, bad := parseFilter(r.query.Get("filter"))
	if bad != nil {
		return nil, bad
	}
	if !wanted {
		named = a.candidates(f)
	}
	var found []*volume
	for _, v := range named {
		if d := r.query.Get("destroyed"); d != "" && (d == "true") != v.Destroyed {
			continue
		}
		if f.matchesFields(func(field string) []string { return a.volumeField(v, field) }) {
			found = append(found, v)
		}
	}
	var order func(*volume) string
	if !wanted { // else they are in the order of the request
		order = func(v *volume) string { return key(v.Name) }
	}
	return pageOf(a, r, found, a.volumeObject, order)
}

// volumeField makes an object only for fields that are rarely filtered by.
func (a *Array) volumeField(v *volume, field string) []string {
	switch field {
	case "name":
		return []string{v.Name}
	case "serial":
		return []string{v.Serial}
	case "destroyed":
		return []string{strconv.FormatBool(v.Destroyed)}
	}
	return fieldValues(a.volumeObject(v), field)
}

// candidates narrows the volumes down by an index where the filter allows it,
// so that a look-up by serial costs the same on an array of any size.
func (a *Array) candidates(f *filter) []*volume {
	for field, index := range map[string]func(string) *volume{
		"serial": func(s string) *volume { return a.bySerial[strings.ToUpper(s)] },
		"name":   func(s string) *volume { return a.byName[key(s)] },
		"id":     func(s string) *volume { return a.volumes[s] },
	} {
		value, only := f.only(field)
		if !only {
			continue
		}
		if v := index(value); v != nil {
			return []*volume{v}
		}
		return nil
	}
	return a.sorted()
}

// namedVolumes are those that names= or ids= say. wanted is false if neither
// is given.
func (a *Array) namedVolumes(r *request) (found []*volume, wanted bool, bad *failure) {
	return a.volumesBy(r, "names", "ids")
}

func (a *Array) volumesBy(r *request, namesKey, idsKey string) (found []*volume, wanted bool, bad *failure) {
	names, ids := r.list(namesKey), r.list(idsKey)
	if len(names) > 0 && len(ids) > 0 {
		return nil, true, refuse("", "Only one of %s and %s may be given.", namesKey, idsKey)
	}
	for _, n := range names {
		v := a.byName[key(n)]
		if v == nil {
			return nil, true, refuse(n, notExist, "Volume")
		}
		found = append(found, v)
	}
	for _, id := range ids {
		v := a.volumes[id]
		if v == nil {
			return nil, true, refuse(id, notExist, "Volume")
		}
		found = append(found, v)
	}
	return found, len(names)+len(ids) > 0, nil
}

// oneVolume is the volume of a call that changes one.
func (a *Array) oneVolume(r *request) (*volume, *failure) {
	found, wanted, bad := a.namedVolumes(r)
	switch {
	case bad != nil:
		return nil, bad
	case !wanted:
		return nil, refuse("", "Either names or ids must be given.")
	case len(found) != 1:
		return nil, refuse("", "The stand-in changes one volume at a time.")
	}
	return found[0], nil
}

func (a *Array) volumeObject(v *volume) object {
	o := object{
		"id": v.ID, "name": v.Name, "serial": v.Serial, "subtype": "regular", "provisioned": v.Bytes,
		"created": v.Created.UnixMilli(), "destroyed": v.Destroyed, "connection_count": len(v.Hosts) + len(v.Groups),
		"space":  object{"total_provisioned": v.Bytes, "total_used": 0, "total_physical": 0},
		"source": object{},
	}
	if v.Destroyed {
		o["time_remaining"] = pendingTime.Milliseconds()
	}
	if v.Source != "" {
		o["source"] = object{"name": v.Source}
	}
	if p, _ := splitName(v.Name); p != "" {
		o["pod"] = object{"name": a.pods[key(p)].Name, "id": a.pods[key(p)].ID}
	}
	return o
}

func (a *Array) postVolumes(r *request) (any, *failure) {
	names := r.list("names")
	if len(names) != 1 {
		return nil, refuse("", "The stand-in creates one volume at a time.")
	}
	var body volumeBody
	if bad := r.decode(&body); bad != nil {
		return nil, bad
	}
	if bad := a.checkVolumeName(names[0]); bad != nil {
		return nil, bad
	}
	if body.Source != nil {
		return a.copyVolume(r, names[0], *body.Source)
	}
	if a.byName[key(names[0])] != nil {
		return nil, refuse(names[0], alreadyExists, "Volume")
	}
	if body.Provisioned == nil {
		return nil, refuse(names[0], "Provisioned size is required.")
	}
	if bad := a.checkSize(names[0], *body.Provisioned, *body.Provisioned); bad != nil {
		return nil, bad
	}
	return a.create(r, &volume{Name: names[0], Bytes: *body.Provisioned})
}

func (a *Array) create(r *request, v *volume) (any, *failure) {
	v.Protected = a.minor >= 16 && r.query.Get("with_default_protection") != "false"
	a.add(v)
	if err := a.makeBacking(v); err != nil {
		a.drop(v)
		return nil, &failure{http.StatusInternalServerError, v.Name, err.Error()}
	}
	return items(a.volumeObject(v)), nil
}

// copyVolume makes a volume that has the source's data, or gives them to one
// that is there.
func (a *Array) copyVolume(r *request, name string, from reference) (any, *failure) {
	source := a.byName[key(from.Name)]
	if from.Name == "" {
		source = a.volumes[from.ID]
	}
	if source == nil {
		return nil, refuse(from.Name, notExist, "Volume")
	}
	if source.Destroyed {
		return nil, refuse(source.Name, destroyed)
	}
	target := a.byName[key(name)]
	if target != nil && r.query.Get("overwrite") != "true" {
		return nil, refuse(name, alreadyExists, "Volume")
	}
	var copied []tag
	for _, t := range source.Tags {
		if t.Copyable {
			copied = append(copied, t)
		}
	}
	if target == nil {
		if bad := a.checkSize(name, source.Bytes, source.Bytes); bad != nil {
			return nil, bad
		}
		target = &volume{Name: name, Bytes: source.Bytes, Source: source.Name, Tags: copied}
		if made, bad := a.create(r, target); bad != nil {
			return made, bad
		}
	} else if bad := a.resizeTo(target, source.Bytes); bad != nil {
		return nil, bad
	}
	if err := a.copyBacking(source, target); err != nil {
		return nil, &failure{http.StatusInternalServerError, name, err.Error()}
	}
	return items(a.volumeObject(target)), nil
}

// checkSize refuses sizes that the array cannot have; more is by how much the
// volume's container grows.
func (a *Array) checkSize(name string, size, more int64) *failure {
	switch {
	case size%sector != 0:
		return refuse(name, "Invalid size: it must be a multiple of 512 bytes.")
	case size < leastBytes || size > mostBytes:
		return refuse(name, "Invalid size: it must be between 1 MB and 4 PB.")
	}
	p, _ := splitName(name)
	if quota := a.quota(p); quota > 0 && a.provisioned(p)+more > quota {
		return refuse(name, limitReached, "Pod quota")
	}
	return nil
}

func (a *Array) quota(podName string) int64 {
	if p := a.pods[key(podName)]; p != nil {
		return p.QuotaBytes
	}
	return 0
}

func (a *Array) provisioned(podName string) (sum int64) {
	for _, v := range a.volumes {
		if p, _ := splitName(v.Name); key(p) == key(podName) {
			sum += v.Bytes
		}
	}
	return sum
}
