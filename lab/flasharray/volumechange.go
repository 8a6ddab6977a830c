package flasharray

import "net/http"

func (a *Array) patchVolumes(r *request) (any, *failure) {
	v, bad := a.oneVolume(r)
	if bad != nil {
		return nil, bad
	}
	var body volumeBody
	if bad := r.decode(&body); bad != nil {
		return nil, bad
	}
	if body.Destroyed != nil {
		if bad := a.setDestroyed(v, *body.Destroyed); bad != nil {
			return nil, bad
		}
	} else if v.Destroyed {
		return nil, refuse(v.Name, destroyed)
	}
	if body.Name != nil {
		if bad := a.move(v, *body.Name); bad != nil {
			return nil, bad
		}
	}
	if body.Provisioned != nil {
		if *body.Provisioned < v.Bytes && r.query.Get("truncate") != "true" {
			return nil, refuse(v.Name, truncation)
		}
		if bad := a.checkSize(v.Name, *body.Provisioned, *body.Provisioned-v.Bytes); bad != nil {
			return nil, bad
		}
		if bad := a.resizeTo(v, *body.Provisioned); bad != nil {
			return nil, bad
		}
	}
	return items(a.volumeObject(v)), nil
}

// setDestroyed destroys or recovers. A connected volume is kept: the array
// wants its connections gone first.
func (a *Array) setDestroyed(v *volume, gone bool) *failure {
	switch {
	case gone && v.Destroyed:
		return refuse(v.Name, deleted)
	case gone && len(v.Hosts)+len(v.Groups) > 0:
		return refuse(v.Name, "Volume cannot be deleted due to existing connections.")
	}
	v.Destroyed = gone
	return nil
}

// move renames a volume within its pod.
func (a *Array) move(v *volume, name string) *failure {
	if bad := a.checkVolumeName(name); bad != nil {
		return bad
	}
	from, _ := splitName(v.Name)
	to, _ := splitName(name)
	if key(from) != key(to) {
		return refuse(v.Name, "Volume cannot be moved by renaming it.")
	}
	if other := a.byName[key(name)]; other != nil && other != v {
		return refuse(name, alreadyExists, "Volume")
	}
	a.rename(v, name)
	return nil
}

func (a *Array) resizeTo(v *volume, size int64) *failure {
	if size == v.Bytes {
		return nil
	}
	v.Bytes = size
	if err := a.resizeBacking(v); err != nil {
		return &failure{http.StatusInternalServerError, v.Name, err.Error()}
	}
	return nil
}

// deleteVolumes eradicates.
func (a *Array) deleteVolumes(r *request) (any, *failure) {
	v, bad := a.oneVolume(r)
	if bad != nil {
		return nil, bad
	}
	if !v.Destroyed {
		return nil, refuse(v.Name, "Volume is not destroyed.")
	}
	if a.o.SafeMode || v.Protected {
		return nil, refuse(v.Name, noEradication)
	}
	if err := a.removeBacking(v); err != nil {
		return nil, &failure{http.StatusInternalServerError, v.Name, err.Error()}
	}
	a.drop(v)
	return nil, nil
}
