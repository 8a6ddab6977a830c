package flasharray

import (
	"time"

	"github.com/volbridge/volbridge/pool"
)

var _ pool.Observed = (*backend)(nil)

// Observe implements pool.Observed.
func (b *backend) Observe(f func(pool.Call)) {
	b.array.Observe(func(status int, took time.Duration) { f(pool.Call{Status: status, Took: took}) })
}
