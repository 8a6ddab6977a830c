package config

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/metrics/spool"
	"github.com/volbridge/volbridge/pool"
)

// Pools opens pools when they are first used and keeps them; several
// goroutines may use it.
type Pools struct {
	config  *Config
	unknown error
	log     *logrus.Entry

	mu     sync.Mutex
	opened map[string]pool.Backend
}

// OpenPools returns the configured pools; none is opened yet. unknown is what
// the error for a name that is not configured wraps: bridge.ErrNoPool. The pools
// log to log; nil is nowhere.
func (c *Config) OpenPools(unknown error, log *logrus.Entry) *Pools {
	if log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		log = logrus.NewEntry(silent)
	}
	return &Pools{config: c, unknown: unknown, log: log, opened: map[string]pool.Backend{}}
}

// Spool is where this host's processes leave what they measure.
func (c *Config) Spool() spool.Spool { return spool.Spool{Dir: c.RunDir} }

// Attached leaves how long a device took to be there.
func (c *Config) Attached(p blockdev.Protocol, took time.Duration, err error) {
	s := spool.Sample{Kind: spool.Device, Of: string(p), Result: "ok", Took: took}
	if err != nil {
		s.Result = "failed"
	}
	c.Spool().Add(s)
}

// Names lists the pools in the order of the file.
func (p *Pools) Names() []string {
	names := make([]string, len(p.config.Pools))
	for i, one := range p.config.Pools {
		names[i] = one.Name
	}
	return names
}

// Open returns a pool's backend, or the error for an unknown one.
func (p *Pools) Open(name string) (pool.Backend, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.opened[name]; ok {
		return b, nil
	}
	one, ok := p.config.Pool(name)
	if !ok {
		return nil, fmt.Errorf("pool %q: %w: write [pool.%s] into %s, or see 'volbridge pool list'", name, p.unknown, name, p.config.Path)
	}
	b, err := one.Open(p.log)
	if err != nil {
		return nil, err // which names the pool
	}
	if o, ok := b.(pool.Observed); ok {
		o.Observe(func(call pool.Call) {
			p.config.Spool().Add(spool.Sample{Kind: spool.Call, Of: name, Result: call.Result(), Took: call.Took})
		})
	}
	p.opened[name] = b
	return b, nil
}
