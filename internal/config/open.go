package config

import (
	"fmt"
	"sync"

	"github.com/volbridge/volbridge/pool"
)

// Pools opens pools when they are first used and keeps them; several
// goroutines may use it.
type Pools struct {
	config  *Config
	unknown error

	mu     sync.Mutex
	opened map[string]pool.Backend
}

// OpenPools returns the configured pools; none is opened yet. unknown is what
// the error for a name that is not configured wraps: bridge.ErrNoPool.
func (c *Config) OpenPools(unknown error) *Pools {
	return &Pools{config: c, unknown: unknown, opened: map[string]pool.Backend{}}
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
	b, err := one.Open()
	if err != nil {
		return nil, fmt.Errorf("open pool %s: %w", name, err)
	}
	p.opened[name] = b
	return b, nil
}
