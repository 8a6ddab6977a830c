package linstor

import (
	"maps"
	"net/http"
	"regexp"
	"strings"
)

var (
	nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{1,47}$`)
	letter   = regexp.MustCompile(`[A-Za-z]`)
)

func checkName(name string) *failure {
	if !nameForm.MatchString(name) || !letter.MatchString(name) || upper(name) == "ALL" || upper(name) == "PROXY" {
		return failed(codeBadName, "The specified resource name '%.60s' is invalid.", name)
	}
	return nil
}

func (c *Controller) createDefinition(q *request) answer {
	var body struct {
		Port       int    `json:"drbd_port"`
		Secret     string `json:"drbd_secret"`
		Transport  string `json:"drbd_transport_type"`
		Definition struct {
			Name  string            `json:"name"`
			Props map[string]string `json:"props"`
			Group string            `json:"resource_group_name"`
		} `json:"resource_definition"`
	}
	if bad := q.read(&body); bad != nil {
		return bad.answer()
	}
	d, bad := c.define(body.Definition.Name, body.Definition.Group, body.Definition.Props)
	if bad != nil {
		return bad.answer()
	}
	return done(http.StatusCreated, "New resource definition '%s' created.", d.name)
}

func (c *Controller) define(name, group string, props map[string]string) (*definition, *failure) {
	if bad := checkName(name); bad != nil {
		return nil, bad
	}
	if c.defs[upper(name)] != nil {
		return nil, failed(codeDefThere, "Resource definition '%s' already exists.", name)
	}
	if group != "" && c.groups[upper(group)] == nil {
		return nil, failed(codeNoGroup, "Resource group '%s' not found.", group)
	}
	if bad := c.checkProps(props); bad != nil {
		return nil, bad
	}
	d := c.newDefinition(name, group, maps.Clone(props))
	c.defs[upper(name)] = d
	return d, nil
}

// checkProps refuses a key that this version does not know.
func (c *Controller) checkProps(props map[string]string) *failure {
	if _, asked := props[exactSize]; asked && c.inexact {
		return failed(codeBadProp, "Invalid property key: the key '%s' is not whitelisted.", exactSize)
	}
	return nil
}

type propsChange struct {
	Override   map[string]string `json:"override_props"`
	Delete     []string          `json:"delete_props"`
	Namespaces []string          `json:"delete_namespaces"`
}

// apply changes props, all or none.
func (p propsChange) apply(props map[string]string) {
	for _, k := range p.Delete {
		delete(props, k)
	}
	for _, n := range p.Namespaces {
		maps.DeleteFunc(props, func(k, _ string) bool { return strings.HasPrefix(k, n+"/") })
	}
	maps.Copy(props, p.Override)
}

func (c *Controller) modifyDefinition(q *request, d *definition) answer {
	var change propsChange
	if bad := q.read(&change); bad != nil {
		return bad.answer()
	}
	if bad := c.checkProps(change.Override); bad != nil {
		return bad.answer()
	}
	if change.Override[exactSize] != "" && len(d.resources) > 0 {
		return failed(codeBadProp, "The property '%s' can only be set before a resource is deployed.", exactSize).answer()
	}
	for k, v := range change.Override {
		if len(v) > 4096 || k == "" {
			return failed(codeBadProp, "The property '%.60s' is not valid.", k).answer()
		}
	}
	change.apply(d.props)
	if bad := c.twoPrimaries(d); bad != nil {
		return bad.answer()
	}
	return done(http.StatusOK, "Definition changed.")
}

func (c *Controller) deleteDefinition(_ *request, d *definition) answer {
	for _, r := range d.sorted() {
		if c.inUse(d, r) {
			return failed(codeInUse, "Resource '%s' on node '%s' is still in use.", d.name, r.node.name).answer()
		}
	}
	d.deleting = true
	if bad := c.finishDelete(d); bad != nil {
		return bad.answer()
	}
	return done(http.StatusOK, "Resource definition '%s' marked for deletion.", d.name)
}

func (c *Controller) listVolumes(_ *request, d *definition) answer {
	return jsonAnswer(http.StatusOK, d.volumes())
}

func (c *Controller) getVolume(q *request, d *definition) answer {
	if d.volume == nil || q.PathValue("nr") != "0" {
		return failed(codeNoVolume, "Volume definition %s of '%s' not found.", q.PathValue("nr"), d.name).answer()
	}
	return jsonAnswer(http.StatusOK, d.volumes()[0])
}

// maxKiB is 1 PiB.
const maxKiB = 1 << 40

func (c *Controller) createVolume(q *request, d *definition) answer {
	var body struct {
		Volume struct {
			Number *int  `json:"volume_number"`
			Size   int64 `json:"size_kib"`
		} `json:"volume_definition"`
		Minor      int    `json:"drbd_minor_number"`
		Passphrase string `json:"passphrase"`
	}
	if bad := q.read(&body); bad != nil {
		return bad.answer()
	}
	if bad := c.addVolume(d, body.Volume.Size); bad != nil {
		return bad.answer()
	}
	return done(http.StatusCreated, "New volume definition with number '0' of resource definition '%s' created.", d.name)
}

func (c *Controller) addVolume(d *definition, sizeKiB int64) *failure {
	switch {
	case d.volume != nil:
		return failed(codeVolThere, "Volume definition '0' of '%s' already exists.", d.name)
	case sizeKiB < 1 || sizeKiB > maxKiB:
		return failed(codeBadSize, "Size %d KiB is not possible.", sizeKiB)
	}
	d.volume = &volumeDefinition{sizeKiB: sizeKiB, minor: c.next(), uuid: c.uuid()}
	return nil
}

func (c *Controller) modifyVolume(q *request, d *definition) answer {
	var body struct {
		Size  int64    `json:"size_kib"`
		Flags []string `json:"flags"`
		propsChange
	}
	if bad := q.read(&body); bad != nil {
		return bad.answer()
	}
	if d.volume == nil || q.PathValue("nr") != "0" {
		return failed(codeNoVolume, "Volume definition %s of '%s' not found.", q.PathValue("nr"), d.name).answer()
	}
	if bad := c.resize(d, body.Size); bad != nil {
		return bad.answer()
	}
	return done(http.StatusOK, "Volume definition '0' of '%s' modified.", d.name)
}

func (c *Controller) resize(d *definition, sizeKiB int64) *failure {
	switch more := sizeKiB - d.volume.sizeKiB; {
	case more == 0 || sizeKiB == 0:
		return nil
	case more < 0:
		return failed(codeBadSize, "Deployed volumes can only grow in size, not shrink.")
	case sizeKiB > maxKiB:
		return failed(codeBadSize, "Size %d KiB is not possible.", sizeKiB)
	case d.props[exactSize] != "":
		return failed(codeBadProp, "Resize is not possible while %s is set.", exactSize)
	default:
		return c.grow(d, more)
	}
}

func (c *Controller) grow(d *definition, more int64) *failure {
	for _, r := range d.replicas() {
		if r.pool.TotalKiB-r.pool.used < more {
			return failed(codeNoNodes, "Not enough free space in storage pool '%s' on node '%s'.", r.pool.Name, r.node.name)
		}
	}
	d.volume.sizeKiB += more
	on := []Resource{}
	for _, r := range d.sorted() {
		if r.pool != nil {
			r.pool.used, r.took = r.pool.used+more, r.took+more
		}
		on = append(on, c.onNode(d, r))
	}
	if c.o.Satellites == nil || len(on) == 0 {
		return nil
	}
	if err := c.o.Satellites.Resize(on); err != nil {
		return failed(codeUnknown, "%s", err)
	}
	return nil
}
