package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/doctor"
	"github.com/volbridge/volbridge/internal/buildinfo"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/migrate"
	"github.com/volbridge/volbridge/migrate/daemon"
)

// doctorEnv is this host as the checks see it. Nothing is asked yet.
func (a *app) doctorEnv(ctx context.Context, o doctorOptions) *doctor.Env {
	c, err := config.Load(a.global.Config, a.drivers)
	if err != nil {
		c = config.Default()
		c.Path = a.global.Config
	}
	// The checks say what is wrong; what the pools log beside it would stand
	// between their lines.
	s := &session{app: a, config: c, pools: c.OpenPools(bridge.ErrNoPool, nil)}
	e := &doctor.Env{
		System: doctor.Machine{Sys: machine().Sys}, Build: buildinfo.Version(version),
		Config: c, ConfigErr: err, Open: s.pools.Open,
		Peer: o.peer, Remote: dialDoctor,
		Local:       func(ctx context.Context) (doctor.Libvirt, error) { return dialDoctor(ctx, a.localURI()) },
		NoAnswer:    func(err error) bool { return errors.Is(err, daemon.ErrNoAnswer) },
		Attachments: s.everyAttachment, Leftovers: s.leftovers,
	}
	e.Host, e.HostErr = s.host()
	return e
}

// localURI is where this host's guests run: not what the environment says.
func (a *app) localURI() string {
	if a.global.Connect != "" {
		return a.global.Connect
	}
	return virt.DefaultURI
}

func dialDoctor(ctx context.Context, uri string) (doctor.Libvirt, error) {
	d, err := daemon.Open(ctx, uri)
	if err != nil {
		return nil, err
	}
	return d, nil // which ends with the process: one that hangs cannot be closed
}

func (s *session) everyAttachment(ctx context.Context) (list []state.Attachment, err error) {
	store, err := s.store(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.All(ctx)
}

// leftovers is what `recover --dry-run` finds, in these pools alone: one that is
// silent is not waited for again.
func (s *session) leftovers(ctx context.Context, pools []string) (list []migrate.Finding, err error) {
	c := *s.config
	if _, err := os.Stat(c.StatePath()); errors.Is(err, fs.ErrNotExist) {
		// To look must not make a state file.
		if c.StateDir, err = os.MkdirTemp("", "volbridge-doctor-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(c.StateDir)) }()
	}
	looking := &session{app: s.app, config: &c, pools: s.pools}
	h, err := looking.openHost(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	r := s.app.recoverer(ctx, h, recoverOptions{dryRun: true, pendingAge: -1 * time.Second})
	if r.Local != nil {
		defer r.Local.Close()
	}
	r.PoolNames = pools
	return r.Recover(ctx)
}
