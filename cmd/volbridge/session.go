package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/pool"
)

// session is what a command works with on this host; it is made from the
// configuration, and nothing is opened before it is used.
type session struct {
	app    *app
	config *config.Config
	pools  *config.Pools
}

// open reads the configuration.
func (a *app) open() (*session, error) {
	c, err := config.Load(a.global.Config, a.drivers)
	if err != nil {
		return nil, err
	}
	return &session{app: a, config: c, pools: c.OpenPools(bridge.ErrNoPool, a.log())}, nil
}

// openLoosely does without a configuration where there is none: then there are
// no pools.
func (a *app) openLoosely() (s *session, configured bool, err error) {
	s, err = a.open()
	if errors.Is(err, config.ErrNoConfig) {
		c := config.Default()
		c.Path = a.global.Config
		return &session{app: a, config: c, pools: c.OpenPools(bridge.ErrNoPool, a.log())}, false, nil
	}
	return s, err == nil, err
}

// host is this machine as the pools know it.
func (s *session) host() (pool.Host, error) { return s.config.Host("/") }

// store opens the records of this host; the caller closes them.
func (s *session) store(ctx context.Context) (*state.Store, error) {
	boot, err := state.BootID("/proc")
	if err != nil {
		return nil, err
	}
	return state.Open(ctx, s.config.StatePath(), boot, state.OnMachine(state.ProductUUID(machine().Sys)))
}

// attachments of one volume on this host; a host that never attached anything
// has no state file, and looking must not make one.
func (s *session) attachments(ctx context.Context, pool, volume string) (list []state.Attachment, err error) {
	if _, err := os.Stat(s.config.StatePath()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	store, err := s.store(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.Volume(ctx, pool, volume)
}

// locks are shared with the hook.
func (s *session) locks() bridge.FileLocks {
	return bridge.FileLocks{Dir: s.config.RunDir, Wait: s.config.Timeouts.Lock}
}

// libvirt connects to the daemon that the flags or the environment name.
func (a *app) libvirt() (*libvirt.Connect, error) {
	return virt.Open(virt.URI(a.global.Connect, a.getenv))
}

// volumeRef is POOL/VOLUME. What names a pool can have, the pool knows.
type volumeRef struct{ Pool, Volume string }

func (r volumeRef) String() string { return r.Pool + "/" + r.Volume }

func parseVolumeRef(arg string) (volumeRef, error) {
	name, volume, ok := strings.Cut(arg, "/")
	if !ok || name == "" || volume == "" {
		return volumeRef{}, usagef("%q names no volume: write POOL/VOLUME, for example fast/web", arg)
	}
	return volumeRef{name, volume}, nil
}

// backend opens the volume's pool.
func (s *session) backend(r volumeRef) (pool.Backend, error) { return s.pools.Open(r.Pool) }

// provisioner opens the pool of a volume that is to be made, grown or removed.
func (s *session) provisioner(r volumeRef) (pool.Backend, pool.Provisioner, error) {
	b, err := s.backend(r)
	if err != nil {
		return nil, nil, err
	}
	p, ok := b.(pool.Provisioner)
	if !ok {
		return nil, nil, withCode(exitRefused, fmt.Errorf("pool %s cannot create, resize or delete volumes: do it where the storage is managed", r.Pool))
	}
	return b, p, nil
}
