package config

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/volbridge/volbridge/internal/lazyregexp"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

// settings are the keys outside the pools.
type settings struct {
	StateDir string   `toml:"state_dir"`
	RunDir   string   `toml:"run_dir"`
	HostName string   `toml:"host_name"`
	HostID   string   `toml:"host_id"`
	LogLevel string   `toml:"log_level"`
	Timeouts timeouts `toml:"timeouts"`
}

type timeouts struct {
	Prepare    units.Duration `toml:"prepare"`
	Migrate    units.Duration `toml:"migrate"`
	Release    units.Duration `toml:"release"`
	Device     units.Duration `toml:"device"`
	Lock       units.Duration `toml:"lock"`
	PendingAge units.Duration `toml:"pending_age"`
}

// loader turns a document into a Config.
type loader struct {
	ps      problems
	doc     document
	drivers []pool.Driver
	lines   map[string]int // where a key stands
	secret  string         // a key that holds a secret
	secrets int            // its line
}

// Load reads the file. What is wrong with its content is an *InvalidError with
// all of it; no file is ErrNoConfig, one of a stranger ErrRefused. drivers are
// the types of pool that there are.
func Load(path string, drivers []pool.Driver) (*Config, error) {
	data, perm, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, perm, drivers)
}

// Parse is Load for what is to be written into the file, with this mode. path is
// for messages.
func Parse(path string, data []byte, perm fs.FileMode, drivers []pool.Driver) (*Config, error) {
	l := loader{drivers: drivers, lines: map[string]int{}}
	l.doc = parse(data, &l.ps)
	l.duplicates()
	c := l.globals()
	c.Path = path
	c.Pools = l.pools()
	l.permissions(path, perm)
	if err := l.ps.err(path); err != nil {
		return nil, err
	}
	return c, nil
}

// duplicates reports what is there twice and keeps the first.
func (l *loader) duplicates() {
	seen := map[string]int{}
	for _, t := range l.doc.tables {
		key := dotted(t.path)
		if first, ok := seen[key]; ok {
			l.ps.add(t.line, "", "table [%s] is there already, at line %d: put its keys there", key, first)
			continue
		}
		seen[key] = t.line
	}
	var kept []entry
	for _, e := range l.doc.entries {
		key := dotted(e.path)
		if first, ok := l.lines[key]; ok {
			l.ps.add(e.line, "", "%s is there already, at line %d: remove one of them", key, first)
			continue
		}
		l.lines[key] = e.line
		kept = append(kept, e)
	}
	l.doc.entries = kept
}

func (l *loader) globals() *Config {
	c := Default()
	s := settings{StateDir: c.StateDir, RunDir: c.RunDir, LogLevel: c.LogLevel, Timeouts: timeouts{
		Prepare: units.Duration(c.Timeouts.Prepare), Migrate: units.Duration(c.Timeouts.Migrate),
		Release: units.Duration(c.Timeouts.Release), Device: units.Duration(c.Timeouts.Device),
		Lock: units.Duration(c.Timeouts.Lock), PendingAge: units.Duration(c.Timeouts.PendingAge),
	}}
	strange := map[string]bool{}
	for _, t := range l.doc.tables {
		if t.path[0] != "pool" && (len(t.path) > 1 || t.path[0] != "timeouts") {
			l.ps.add(t.line, dotted(t.path), "unknown table: possible here: [timeouts], [pool.NAME]")
			strange[t.path[0]] = true
		}
	}
	for _, e := range l.doc.entries {
		if e.path[0] == "pool" || strange[e.path[0]] {
			continue
		}
		if text := fill(&s, e.path, e); text != "" {
			l.ps.add(e.line, dotted(e.path), "%s", text)
		}
	}
	l.checkGlobals(s)
	c.StateDir, c.RunDir, c.HostName, c.HostID, c.LogLevel = s.StateDir, s.RunDir, s.HostName, s.HostID, s.LogLevel
	c.Timeouts = Timeouts{
		Prepare: time.Duration(s.Timeouts.Prepare), Migrate: time.Duration(s.Timeouts.Migrate),
		Release: time.Duration(s.Timeouts.Release), Device: time.Duration(s.Timeouts.Device),
		Lock: time.Duration(s.Timeouts.Lock), PendingAge: time.Duration(s.Timeouts.PendingAge),
	}
	return c
}

var (
	logLevels = []string{"error", "warn", "info", "debug", "trace"}
	// A host's name and id are compared and shown, and become part of file
	// names.
	hostPattern = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`).AtMost(253)
	poolPattern = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`).AtMost(40)
)

func (l *loader) checkGlobals(s settings) {
	for key, dir := range map[string]string{"state_dir": s.StateDir, "run_dir": s.RunDir} {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != strings.TrimRight(dir, "/") {
			l.ps.add(l.lines[key], key, "%q is not the absolute path of a folder", dir)
		}
	}
	for key, value := range map[string]string{"host_name": s.HostName, "host_id": s.HostID} {
		if _, set := l.lines[key]; set && !hostPattern.MatchString(value) {
			l.ps.add(l.lines[key], key, "%q cannot be used: letters, digits, '-', '_' and '.' can", value)
		}
	}
	if !slices.Contains(logLevels, s.LogLevel) {
		l.ps.add(l.lines["log_level"], "log_level", "%q is no level: %s", s.LogLevel, strings.Join(logLevels, ", "))
	}
	for key, d := range map[string]units.Duration{
		"prepare": s.Timeouts.Prepare, "migrate": s.Timeouts.Migrate, "release": s.Timeouts.Release,
		"device": s.Timeouts.Device, "lock": s.Timeouts.Lock, "pending_age": s.Timeouts.PendingAge,
	} {
		if key = "timeouts." + key; d <= 0 {
			l.ps.add(l.lines[key], key, "must be longer than 0")
		}
	}
}

// permissions refuses a file that holds a secret and that others may read.
func (l *loader) permissions(path string, perm fs.FileMode) {
	if l.secret != "" && perm&0o077 != 0 {
		l.ps.add(0, "", "the file holds a secret (%s, line %d) and others may read it (mode %04o): run 'chmod 600 %s', and change the secret",
			l.secret, l.secrets, perm, path)
	}
}
