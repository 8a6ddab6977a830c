package migrate

import (
	"sync"
	"time"
)

// stallGuard calls give up when no sample has shown movement for the limit.
// There is no limit on the whole: a copy may take as long as it moves.
type stallGuard struct {
	mu    sync.Mutex
	timer *time.Timer
	limit time.Duration
	last  movement
}

// movement is what of a sample changes when anything moves.
type movement struct {
	diskDone, memoryDone, memoryLeft int64
	pass                             int
}

func newStallGuard(limit time.Duration, giveUp func()) *stallGuard {
	g := &stallGuard{limit: limit}
	if limit > 0 {
		g.timer = time.AfterFunc(limit, giveUp)
	}
	return g
}

func (g *stallGuard) saw(p Progress) {
	now := movement{memoryDone: p.MemoryDoneBytes, memoryLeft: p.MemoryLeftBytes, pass: p.MemoryPass}
	for _, d := range p.Disks {
		now.diskDone += d.DoneBytes
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now != g.last && g.timer != nil {
		g.timer.Reset(g.limit)
	}
	g.last = now
}

func (g *stallGuard) stop() {
	if g.timer != nil {
		g.timer.Stop()
	}
}
