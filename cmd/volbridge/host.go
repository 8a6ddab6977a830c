package main

import (
	"context"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/hooks/scan"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// host is a session with the records of this host open, for commands that act
// on what is attached here.
type host struct {
	*session
	self   pool.Host
	bootID string
	store  *state.Store
	bridge *bridge.Bridge
}

// openHost opens all of it; the caller closes it. A host without a
// configuration has no pools, but may have records.
func (a *app) openHost(ctx context.Context, opts ...state.Option) (*host, error) {
	s, _, err := a.openLoosely()
	if err != nil {
		return nil, err
	}
	return s.openHost(ctx, opts...)
}

func (s *session) openHost(ctx context.Context, opts ...state.Option) (h *host, err error) {
	machine := machine()
	opts = append(opts, state.OnMachine(state.ProductUUID(machine.Sys)))
	h = &host{session: s}
	if h.self, err = s.host(); err != nil {
		return nil, err
	}
	if h.bootID, err = state.BootID(machine.Proc); err != nil {
		return nil, err
	}
	if h.store, err = state.Open(ctx, s.config.StatePath(), h.bootID, opts...); err != nil {
		return nil, err
	}
	h.bridge = &bridge.Bridge{
		Host: h.self, BootID: h.bootID, Store: h.store, Pools: s.pools, Locks: s.locks(), Devices: bridge.HostDevices{Host: machine},
		Hints:         bridge.FileHints(scan.HintDir),
		Log:           s.app.log(),
		Attached:      s.config.Attached,
		DeviceTimeout: s.config.Timeouts.Device,
		UndoTimeout:   s.config.Timeouts.Release,
	}
	return h, nil
}

func (h *host) close() error { return h.store.Close() }
