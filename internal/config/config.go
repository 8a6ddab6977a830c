// Package config reads volbridge's configuration: one TOML file, strictly.
// Everything that is wrong with it is reported at once, with line and key.
package config

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/pool"
)

// DefaultPath is where the file is on an installed host.
const DefaultPath = "/etc/volbridge/volbridge.toml"

var (
	// ErrNoConfig: there is no file. Commands that need no pool go on with
	// Default.
	ErrNoConfig = errors.New("there is no configuration")
	// ErrRefused: the file belongs to a user whom this process must not obey.
	ErrRefused = errors.New("configuration is not trusted")
)

// Config is the content of the file, complete with defaults.
type Config struct {
	// Path is the file that this was read from, or would have been.
	Path string
	// StateDir holds what must survive a boot, RunDir what must not.
	StateDir, RunDir string
	// HostName and HostID replace what the machine says of itself; usually
	// both are empty. See Host.
	HostName, HostID string
	LogLevel         string // error, warn, info, debug or trace
	Timeouts         Timeouts
	Pools            []Pool // in the order of the file
}

// Timeouts bound what may wait.
type Timeouts struct {
	Prepare    time.Duration // the hook's work at a start, during which libvirt stands still
	Migrate    time.Duration // the hook's work for a domain that arrives
	Release    time.Duration // the hook's work at a stop
	Device     time.Duration // until an attached device appears
	Lock       time.Duration // until another process is done with the same domain or volume
	PendingAge time.Duration // after which an arrival that never came is taken back
}

// Pool is one [pool.NAME] of the file.
type Pool struct {
	Name     string
	Type     string
	Settings any // what the driver's Settings returned, filled in

	driver pool.Driver
}

// Open makes the pool's backend, which logs to log; it asks nobody.
func (p Pool) Open(log *logrus.Entry) (pool.Backend, error) {
	return p.driver.Open(p.Name, p.Settings, log)
}

// Default is the configuration of a host without a file: no pools.
func Default() *Config {
	return &Config{
		Path:     DefaultPath,
		StateDir: "/var/lib/volbridge",
		RunDir:   "/run/volbridge",
		LogLevel: "info",
		Timeouts: Timeouts{
			Prepare:    60 * time.Second,
			Migrate:    5 * time.Minute,
			Release:    20 * time.Second,
			Device:     30 * time.Second,
			Lock:       30 * time.Second,
			PendingAge: 2 * time.Minute,
		},
	}
}

// StatePath is the state file; see package state.
func (c *Config) StatePath() string { return filepath.Join(c.StateDir, "state.db") }

// Pool returns the pool of this name, and whether there is one.
func (c *Config) Pool(name string) (Pool, bool) {
	for _, p := range c.Pools {
		if p.Name == name {
			return p, true
		}
	}
	return Pool{}, false
}
