// Package drbd is a pool of DRBD resources that people configure by hand in
// /etc/drbd.d, without a controller. A volume is a resource with the one volume
// 0; it exists before volbridge uses it, and this pool makes, grows and removes
// none.
//
// # Who holds a volume
//
// A host holds it while the host is Primary. Grant promotes this host, so that
// of two hosts that ask at once the kernels let one win. Two Primaries are
// allowed only while a guest moves or several share the volume: an arriving
// host allows them, the host that leaves forbids them again, and its peers
// follow (allow-two-primaries travels with the connection).
//
// DRBD knows neither for whom a host is Primary nor in which boot. This host
// writes that down for itself (record.go), in /run, for roles do not survive a
// reboot either. Of a peer only its role is known, so that the rules of package
// pool about owners and modes bind on one host, and between hosts as far as
// docs/drbd.md says.
package drbd

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

// Settings are the keys of a pool of type "drbd".
type Settings struct {
	// Resources are patterns of the resources that belong to the pool, such as
	// "vm-*"; none: all.
	Resources []string `toml:"resources"`
	// Timeout of one call of drbdadm or drbdsetup.
	Timeout units.Duration `toml:"timeout"`

	// Of tests only: where the tools, sysfs and the records are, and how this
	// host is called in the configuration of DRBD.
	Tools  string `toml:"-"`
	Sys    string `toml:"-"`
	RunDir string `toml:"-"`
	Node   string `toml:"-"`
}

// runDir holds the records of all pools, a folder each.
const runDir = "/run/volbridge/drbd"

// Driver is the type "drbd" for the configuration.
var Driver = pool.Driver{
	Type: "drbd",
	Settings: func() any {
		return &Settings{Timeout: units.Duration(drbdtools.DefaultTimeout), Sys: "/sys", RunDir: runDir}
	},
	Check:   func(settings any) map[string]string { return check(settings.(*Settings)) },
	Schemes: []string{"drbd"},
	FromURL: fromURL,
	Open:    func(name string, settings any, _ *logrus.Entry) (pool.Backend, error) { return open(name, settings) },
}

func check(s *Settings) map[string]string {
	wrong := map[string]string{}
	for _, pattern := range s.Resources {
		if _, err := filepath.Match(pattern, ""); err != nil || pattern == "" {
			wrong["resources"] = fmt.Sprintf("has %q, which is no pattern of names, such as \"vm-*\"", pattern)
		}
	}
	if s.Timeout <= 0 {
		wrong["timeout"] = "must be more than nothing"
	}
	return wrong
}

// backend is one pool.
type backend struct {
	name     string
	patterns []string
	tools    drbdtools.Tools
	sys      string
	records  string
	node     string // "": the kernel's host name
	now      func() time.Time
	// sinceBoot is a clock of its own: nobody can set it.
	sinceBoot func() time.Duration
}

var (
	_ pool.Backend    = (*backend)(nil)
	_ pool.Checker    = (*backend)(nil)
	_ pool.HeldLister = (*backend)(nil)
	_ pool.Tidier     = (*backend)(nil)
)

func open(name string, settings any) (*backend, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("open pool %s: settings of type %T are not those of a drbd pool", name, settings)
	}
	for key, what := range check(s) {
		return nil, fmt.Errorf("open pool %s: %s %s", name, key, what)
	}
	return &backend{
		name: name, patterns: s.Resources, sys: s.Sys, node: s.Node, now: time.Now, sinceBoot: sinceBoot,
		tools:   drbdtools.Tools{Folder: s.Tools, Timeout: time.Duration(s.Timeout)},
		records: filepath.Join(s.RunDir, folderName(name)),
	}, nil
}

// nodeName is what DRBD calls this host: as the kernel does, whatever host_name
// says in our configuration.
func (b *backend) nodeName() (string, error) {
	if b.node != "" {
		return b.node, nil
	}
	return os.Hostname()
}
