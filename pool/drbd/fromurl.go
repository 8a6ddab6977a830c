package drbd

import (
	"errors"

	"github.com/volbridge/volbridge/pool"
)

// fromURL takes "drbd:", for what is told apart by its query alone.
func fromURL(u pool.URL) (pool.Described, error) {
	if len(u.Hosts) > 0 || u.User != "" || u.Path != "" {
		return pool.Described{}, errors.New("the URL of DRBD resources is drbd: or drbd:?resources=vm-*,db-*; the hosts are in DRBD's own configuration")
	}
	return pool.Described{Settings: map[string]string{}}, nil
}
