// Package flasharray is a pool on a Pure Storage FlashArray, which it asks by
// REST 2.x.
//
// A volume is one of the array's, in a pod or in none; its device is known by
// its NGUID, which follows from its serial. Who holds a volume is written into
// its tags (grant_tag.go), in all modes, because the array alone is seen by all
// hosts. Each host that holds a volume has a connection of its own, unless the
// pool names a host group: then the volume is connected to that once and for
// good, and the tags alone keep hosts apart. That binds only who goes through
// volbridge.
//
// What the array says of itself, of this host and of a volume's serial is
// remembered until the next boot (rest.Cache). It is a hint: names are compared
// with each grant's replies, sizes by the transport with the device's.
package flasharray

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// Driver is the type "flasharray" for the configuration.
var Driver = pool.Driver{
	Type:     "flasharray",
	Settings: func() any { return newSettings() },
	Check:    func(settings any) map[string]string { return checkSettings(settings.(*Settings)) },
	Schemes:  []string{"https"},
	FromURL:  fromURL,
	Open: func(name string, settings any, log *logrus.Entry) (pool.Backend, error) {
		return open(name, settings, log)
	},
}

func open(name string, settings any, log *logrus.Entry) (*backend, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("open pool %s: settings of type %T are not those of a flasharray pool", name, settings)
	}
	p, wrong := s.place()
	for _, key := range slices.Sorted(maps.Keys(wrong)) {
		return nil, fmt.Errorf("open pool %s: %s %s", name, key, wrong[key])
	}
	log = log.WithField("pool", name)
	o := s.clientOptions(name, p, os.Getenv, log)
	client, err := rest.New(o)
	if err != nil {
		// A pool that cannot be opened claims no path, and a guest on its volume
		// would start without asking. This one claims them, and cannot be asked.
		client = rest.Broken(o, err)
	}
	return &backend{name: name, settings: *s, place: p, array: array{client}, now: time.Now, log: log, locks: s.SessionDir}, nil
}
