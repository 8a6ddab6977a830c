package linstor

import (
	"time"

	"github.com/volbridge/volbridge/pool"
)

var _ pool.Observed = (*backend)(nil)

// Observe implements pool.Observed. What a controller refuses within a reply of
// status 200 counts as answered.
func (b *backend) Observe(f func(pool.Call)) {
	b.linstor.Observe(func(status int, took time.Duration) { f(pool.Call{Status: status, Took: took}) })
}
