// Package drivers lists the backends that volbridge is built with.
package drivers

import (
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/dir"
	"github.com/volbridge/volbridge/pool/drbd"
	"github.com/volbridge/volbridge/pool/flasharray"
	"github.com/volbridge/volbridge/pool/linstor"
)

// All are the drivers, in the order in which they are listed to people.
var All = []pool.Driver{
	dir.Driver,
	flasharray.Driver,
	drbd.Driver,
	linstor.Driver,
}
