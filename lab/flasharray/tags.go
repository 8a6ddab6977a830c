package flasharray

import (
	"slices"
	"unicode/utf8"
)

const (
	keyLength        = 64
	valueLength      = 256
	batchLength      = 30 // tags of one PUT
	defaultNamespace = "default"
)

type tagBody struct {
	Namespace *string
	Key       string
	Value     string
	Copyable  *bool
}

func (a *Array) getTags(r *request) (any, *failure) {
	found, wanted, bad := a.volumesBy(r, "resource_names", "resource_ids")
	if bad != nil {
		return nil, bad
	}
	f, bad := parseFilter(r.query.Get("filter"))
	if bad != nil {
		return nil, bad
	}
	if !wanted {
		found = a.sorted()
	}
	var tags []object
	for _, v := range found {
		if d := r.query.Get("resource_destroyed"); d != "" && (d == "true") != v.Destroyed {
			continue
		}
		for _, t := range v.Tags {
			o := tagObject(v, t)
			if r.selects(t) && f.matches(o) {
				tags = append(tags, o)
			}
		}
	}
	return a.page(r, tags, nil)
}

// selects says whether namespaces= and keys= mean t. Without namespaces= only
// the default one is meant.
func (r *request) selects(t tag) bool {
	namespaces := r.list("namespaces")
	if len(namespaces) == 0 {
		namespaces = []string{defaultNamespace}
	}
	keys := r.list("keys")
	return slices.Contains(namespaces, t.Namespace) && (len(keys) == 0 || slices.Contains(keys, t.Key))
}

func tagObject(v *volume, t tag) object {
	return object{"namespace": t.Namespace, "key": t.Key, "value": t.Value, "copyable": t.Copyable,
		"resource": object{"id": v.ID, "name": v.Name}}
}

func (a *Array) putTags(r *request) (any, *failure) {
	found, wanted, bad := a.volumesBy(r, "resource_names", "resource_ids")
	if bad != nil {
		return nil, bad
	}
	if !wanted {
		return nil, refuse("", "Either resource_names or resource_ids must be given.")
	}
	var body []tagBody
	if bad := r.decode(&body); bad != nil {
		return nil, bad
	}
	if len(body) < 1 || len(body) > batchLength {
		return nil, refuse("", "There must be 1 to %d tags.", batchLength)
	}
	var changed [][]tag
	for _, v := range found {
		tags, bad := a.merge(v, body)
		if bad != nil {
			return nil, bad
		}
		changed = append(changed, tags)
	}
	var put []object
	for i, v := range found {
		v.Tags = changed[i]
		for _, b := range body {
			put = append(put, tagObject(v, b.tag()))
		}
	}
	return items(put...), nil
}

func (b tagBody) tag() tag {
	t := tag{Namespace: defaultNamespace, Key: b.Key, Value: b.Value, Copyable: true}
	if b.Namespace != nil {
		t.Namespace = *b.Namespace
	}
	if b.Copyable != nil {
		t.Copyable = *b.Copyable
	}
	return t
}

// merge returns v's tags with those of body, and changes nothing.
func (a *Array) merge(v *volume, body []tagBody) ([]tag, *failure) {
	if v.Destroyed {
		return nil, refuse(v.Name, destroyed)
	}
	tags := slices.Clone(v.Tags)
	for _, b := range body {
		t := b.tag()
		if n := utf8.RuneCountInString(t.Key); n < 1 || n > keyLength {
			return nil, refuse(v.Name, "Invalid tag key: it must have 1 to %d characters.", keyLength)
		}
		if utf8.RuneCountInString(t.Value) > valueLength {
			return nil, refuse(v.Name, "Invalid tag value: it must have at most %d characters.", valueLength)
		}
		same := func(o tag) bool { return o.Namespace == t.Namespace && o.Key == t.Key }
		if i := slices.IndexFunc(tags, same); i >= 0 {
			tags[i] = t
		} else {
			tags = append(tags, t)
		}
	}
	if len(tags) > a.o.TagLimit && len(tags) > len(v.Tags) {
		return nil, refuse(v.Name, limitReached, "Tag")
	}
	return tags, nil
}

// deleteTags removes tags; one that is not there is an error, which a repeated
// call has to know.
func (a *Array) deleteTags(r *request) (any, *failure) {
	found, wanted, bad := a.volumesBy(r, "resource_names", "resource_ids")
	if bad != nil {
		return nil, bad
	}
	if !wanted || len(r.list("keys")) == 0 {
		return nil, refuse("", "Keys and either resource_names or resource_ids must be given.")
	}
	for _, v := range found {
		left := slices.DeleteFunc(slices.Clone(v.Tags), r.selects)
		removed := len(v.Tags) - len(left)
		if removed == 0 || a.o.StrictTags && removed < len(r.list("keys")) {
			return nil, refuse(v.Name, notExist, "Tag")
		}
		v.Tags = left
	}
	return nil, nil
}
