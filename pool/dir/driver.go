// Package dir is a pool in a directory: one folder per volume with a raw file,
// attached as a loop device. The directory may be local or shared between
// hosts (NFS, a cluster file system); what hosts must know of each other is
// kept in it.
//
//	DIR/volbridge-pool.json       says that this is a pool, and no empty mount point
//	DIR/VOLUME/volume.json        name, UUID, size
//	DIR/VOLUME/disk.raw           the data, sparse
//	DIR/VOLUME/lock               flock, held while grants or size change
//	DIR/VOLUME/grants/HASH.json   one per host that may reach the volume
//	DIR/.creating-*, .deleted-*   on the way in or out; removed by the next create or
//	                              delete once their maker is dead
//
// Init makes the directory a pool, if it holds nothing but perhaps lost+found;
// nothing else does. So an empty mount point, which is what a host sees of a
// share that is not mounted, is no pool. The setting mountpoint keeps Init too
// from making it one.
//
// Space is not reserved: files are sparse, and a full file system shows itself
// as write errors in the guests. Watch Capacity.
package dir

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

// Settings are the keys of a pool of type "dir".
type Settings struct {
	// Path of the directory, the same file system on every host that shares
	// the pool. Required.
	Path string `toml:"path"`
	// Granularity that sizes are rounded up to.
	Granularity units.Size `toml:"granularity"`
	// Mountpoint refuses to work unless Path is where a file system is mounted.
	Mountpoint bool `toml:"mountpoint"`
}

// sectorBytes is the least granularity: what loop devices and guests count in.
const sectorBytes = 512

// Driver is the type "dir" for the configuration.
var Driver = pool.Driver{
	Type:     "dir",
	Settings: func() any { return &Settings{Granularity: sectorBytes} },
	Check:    func(settings any) map[string]string { return check(settings.(*Settings)) },
	Schemes:  []string{"dir", "file"},
	FromURL:  fromURL,
	Open: func(name string, settings any, log *logrus.Entry) (pool.Backend, error) {
		return open(name, settings, log)
	},
}

func check(s *Settings) map[string]string {
	wrong := map[string]string{}
	switch {
	case s.Path == "":
		wrong["path"] = "is required: the absolute path of the directory that holds the volumes"
	case !filepath.IsAbs(s.Path) || strings.ContainsFunc(s.Path, isControl):
		wrong["path"] = fmt.Sprintf("must be an absolute path without control characters, not %q", s.Path)
	}
	if s.Granularity <= 0 || s.Granularity%sectorBytes != 0 {
		wrong["granularity"] = fmt.Sprintf("must be a multiple of 512B, not %s", s.Granularity)
	}
	return wrong
}

// Place says for people where the pool's volumes are; "" if that is not clear.
// Links are followed, where the folder is there: two paths of one folder are one
// place, and two folders of one file system are two.
func (s *Settings) Place() string {
	if !filepath.IsAbs(s.Path) {
		return ""
	}
	folder := filepath.Clean(s.Path)
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		folder = real
	}
	return "folder " + folder
}

// backend is one pool. It keeps no file open between calls, so that the file
// system can be mounted and unmounted beneath it.
type backend struct {
	name        string
	path        string
	granularity int64
	mountpoint  bool
	now         func() time.Time
	log         *logrus.Entry
}

var (
	_ pool.Backend          = (*backend)(nil)
	_ pool.Provisioner      = (*backend)(nil)
	_ pool.CapacityReporter = (*backend)(nil)
	_ pool.Rounder          = (*backend)(nil)
	_ pool.Checker          = (*backend)(nil)
	_ pool.Initialiser      = (*backend)(nil)
)

func open(name string, settings any, log *logrus.Entry) (*backend, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("open pool %s: settings of type %T are not those of a dir pool", name, settings)
	}
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("open pool %q: its name becomes part of device paths: %w", name, err)
	}
	for key, what := range check(s) {
		return nil, fmt.Errorf("open pool %s: %s %s", name, key, what)
	}
	return &backend{
		name: name, path: filepath.Clean(s.Path), granularity: int64(s.Granularity),
		mountpoint: s.Mountpoint, now: time.Now, log: log,
	}, nil
}
