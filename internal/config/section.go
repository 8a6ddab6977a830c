package config

import (
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/volbridge/volbridge/pool"
)

// section is what the file says of one pool.
type section struct {
	name    string
	line    int
	entries []entry
}

// pools reads the pools in the order in which the file first names them.
func (l *loader) pools() []Pool {
	var list []Pool
	for _, s := range l.sections() {
		if !poolPattern.MatchString(s.name) {
			l.ps.add(s.line, "pool."+quoted(s.name), "not a possible name of a pool: up to 40 letters, digits, '-', '_' and '.'")
		}
		if p, ok := l.pool(s); ok {
			l.elsewhere(s, p, list)
			list = append(list, p)
		}
	}
	return list
}

// placed are settings that say where their pool's volumes are, for people. Two
// pools of one type and place have the same volumes; "": they cannot say it.
type placed interface{ Place() string }

// elsewhere refuses a pool whose volumes are those of an earlier one: each
// would have two names, and be two volumes to whoever keeps records of them.
func (l *loader) elsewhere(s *section, p Pool, earlier []Pool) {
	at, ok := p.Settings.(placed)
	if !ok || at.Place() == "" {
		return
	}
	for _, other := range earlier {
		if o, ok := other.Settings.(placed); ok && other.Type == p.Type && o.Place() == at.Place() {
			l.ps.add(s.line, dotted([]string{"pool", s.name}), "its volumes are those of [%s] already (%s): remove one of the two",
				dotted([]string{"pool", other.Name}), at.Place())
			return
		}
	}
}

func (l *loader) sections() []*section {
	var list []*section
	byName := map[string]*section{}
	at := func(name string, line int) *section {
		s, ok := byName[name]
		if !ok {
			s = &section{name: name, line: line}
			byName[name] = s
			list = append(list, s)
		}
		s.line = min(s.line, line)
		return s
	}
	for _, t := range l.doc.tables {
		if t.path[0] == "pool" && len(t.path) > 1 {
			at(t.path[1], t.line)
		}
	}
	for _, e := range l.doc.entries {
		switch {
		case e.path[0] != "pool":
		case len(e.path) < 3:
			l.ps.add(e.line, dotted(e.path), "a pool is a table: write [pool.NAME] and its keys below")
		default:
			s := at(e.path[1], e.line)
			s.entries = append(s.entries, e)
		}
	}
	slices.SortStableFunc(list, func(a, b *section) int { return a.line - b.line })
	return list
}

func (l *loader) pool(s *section) (Pool, bool) {
	driver, ok := l.driver(s)
	if !ok {
		return Pool{}, false
	}
	p := Pool{Name: s.name, Type: driver.Type, Settings: driver.Settings(), driver: driver}
	for _, e := range s.entries {
		key := e.path[2:]
		if key[0] == "type" {
			continue
		}
		if holdsSecret(p.Settings, key, e) && l.secret == "" {
			l.secret, l.secrets = dotted(e.path), e.line
		}
		if text := fill(p.Settings, key, e); text != "" {
			l.ps.add(e.line, dotted(e.path), "%s", text)
		}
	}
	if driver.Check != nil {
		l.check(s, driver.Check(p.Settings))
	}
	return p, true
}

func (l *loader) driver(s *section) (pool.Driver, bool) {
	key := dotted([]string{"pool", s.name, "type"})
	var types []string
	for _, d := range l.drivers {
		types = append(types, d.Type)
	}
	known := strings.Join(types, ", ")
	i := slices.IndexFunc(s.entries, func(e entry) bool { return slices.Equal(e.path[2:], []string{"type"}) })
	if i < 0 {
		l.ps.add(s.line, key, "is missing: one of %s", known)
		return pool.Driver{}, false
	}
	e := s.entries[i]
	if e.kind != unstable.String {
		l.ps.add(e.line, key, "must be a text in quotes, not %s", kindNames[e.kind])
		return pool.Driver{}, false
	}
	d := slices.Index(types, e.text)
	if d < 0 {
		l.ps.add(e.line, key, "%q is no type of pool: one of %s", e.text, known)
		return pool.Driver{}, false
	}
	return l.drivers[d], true
}

// check adds what the driver found; keys that are not in the file are reported
// where the pool begins.
func (l *loader) check(s *section, found map[string]string) {
	for name, text := range found {
		key := dotted([]string{"pool", s.name}) + "." + name
		line, ok := l.lines[key]
		if !ok {
			line = s.line
		}
		l.ps.add(line, key, "%s", text)
	}
}
