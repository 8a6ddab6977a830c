// Package linstor is a pool on a LINSTOR cluster: its volumes are the resource
// definitions of one resource group, and a host reaches them over DRBD.
//
// Who holds a volume is written into properties of its resource definition (see
// package claims), because the controller alone is seen by all hosts. A host
// that holds a volume has the resource: as a diskless client that comes and goes
// with the grant, or as a replica, which stays. Two hosts may write at the same
// time exactly while both hold it, and that is noted on the resource definition
// before it is allowed (two.go).
package linstor

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

// Driver is the type "linstor" for the configuration.
var Driver = pool.Driver{
	Type:     "linstor",
	Settings: func() any { return newSettings() },
	Check:    func(settings any) map[string]string { return checkSettings(settings.(*Settings)) },
	Schemes:  []string{"linstor", "linstor+http", "linstor+https", "linstor+ssl"},
	FromURL:  fromURL,
	Open: func(name string, settings any, log *logrus.Entry) (pool.Backend, error) {
		return open(name, settings, log)
	},
}

func open(name string, settings any, log *logrus.Entry) (*backend, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("open pool %s: settings of type %T are not those of a linstor pool", name, settings)
	}
	o, wrong := s.options(os.Getenv)
	for _, key := range slices.Sorted(maps.Keys(wrong)) {
		return nil, fmt.Errorf("open pool %s: %s %s", name, key, wrong[key])
	}
	log = log.WithField("pool", name)
	if o.Insecure {
		log.Warn("tls_verify is false: whoever answers in the place of the controller is believed")
	}
	client, err := rest.New(o)
	if err != nil {
		// A pool that cannot be opened claims no path, and a guest on its volume
		// would start without asking. This one claims them, and cannot be asked.
		client = rest.Broken(o, err)
	}
	return &backend{name: name, settings: *s, linstor: client, now: time.Now, log: log}, nil
}
