package linstor

import (
	"maps"
	"slices"
	"strings"
)

// Definition is what a test sees of a volume.
type Definition struct {
	Name, Group string
	SizeKiB     int64 // 0: it has no volume definition
	Props       map[string]string
	// Resources are "node", "node diskless" or "node tie-breaker".
	Resources []string
	// TwoPrimaries are the pairs of nodes, "a+b", that may both write; Set is
	// where that is set: "resource", or a pair.
	TwoPrimaries, Set []string
	Deleting          bool
}

// Definitions returns all of them, sorted by name.
func (c *Controller) Definitions() (list []Definition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(c.defs)) {
		list = append(list, c.defs[key].look())
	}
	return list
}

// Definition returns one.
func (c *Controller) Definition(name string) (Definition, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.defs[upper(name)]
	if d == nil {
		return Definition{}, false
	}
	return d.look(), true
}

func (d *definition) look() Definition {
	out := Definition{Name: d.name, Group: d.group, Props: maps.Clone(d.props), Deleting: d.deleting}
	if d.volume != nil {
		out.SizeKiB = d.volume.sizeKiB
	}
	all := d.sorted()
	for i, r := range all {
		word := r.node.name
		switch {
		case r.tie:
			word += " tie-breaker"
		case r.pool == nil:
			word += " diskless"
		}
		out.Resources = append(out.Resources, word)
		for _, b := range all[i+1:] {
			if d.twoPrimaries(r, b) {
				out.TwoPrimaries = append(out.TwoPrimaries, r.node.name+"+"+b.node.name)
			}
		}
	}
	if d.props[allowTwo] != "" {
		out.Set = append(out.Set, "resource")
	}
	for p, props := range d.connections {
		if props[allowTwo] != "" {
			out.Set = append(out.Set, strings.ToLower(p[0]+"+"+p[1]))
		}
	}
	slices.Sort(out.Set)
	return out
}
