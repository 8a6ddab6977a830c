package daemon

import (
	"context"
	"errors"
	"time"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/migrate"
)

// sampleEvery is how often a running migration is asked for its progress;
// libvirt announces none.
const sampleEvery = 500 * time.Millisecond

// Migrate moves the domain and returns libvirt's last word. When ctx ends it
// aborts the job, and goes on waiting: only libvirt knows when it is over.
func (d *Daemon) Migrate(ctx context.Context, dest migrate.Hypervisor, call migrate.Call, watch func(migrate.Progress)) error {
	to, ok := dest.(*Daemon)
	if !ok {
		return errors.New("the destination is no libvirt connection")
	}
	dom, err := d.conn.LookupDomainByUUIDString(call.UUID)
	if err != nil {
		return noGuest(err)
	}
	defer dom.Free()
	done := make(chan error, 1)
	go func() { done <- start(dom, to, call) }()

	sampler := &sampler{dom: dom, call: call, began: time.Now(), disks: map[string]migrate.DiskProgress{}}
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	lost := to.lost
	if call.Tuning.PeerToPeer {
		lost = nil // the daemons have a connection of their own
	}
	aborting := false
	for {
		select {
		case err := <-done:
			return plain(err)
		case <-lost:
			// The migration cannot be finished without this connection, but
			// the source's QEMU would wait for the other host to answer.
			aborting, lost = true, nil
		case <-tick.C:
		}
		if aborting || ctx.Err() != nil {
			// Before the job has begun there is nothing to abort yet, so an
			// error means: once more at the next tick.
			_ = dom.AbortJob()
			continue
		}
		if p, ok := sampler.sample(); ok {
			watch(p)
			sampler.postCopy(p)
		}
	}
}

func start(dom *libvirt.Domain, to *Daemon, call migrate.Call) error {
	params, flags := arguments(call)
	if call.Tuning.PeerToPeer {
		return dom.MigrateToURI3(call.DestURI, params, flags)
	}
	moved, err := dom.Migrate3(to.conn, params, flags)
	if err != nil {
		return err
	}
	return moved.Free()
}

// arguments translates a call into libvirt's parameters and flags.
func arguments(call migrate.Call) (*libvirt.DomainMigrateParameters, libvirt.DomainMigrateFlags) {
	t := call.Tuning
	p := &libvirt.DomainMigrateParameters{
		DestXMLSet: true, DestXML: call.DestXML,
		PersistXMLSet: call.PersistXML != "", PersistXML: call.PersistXML,
		BandwidthSet: t.BandwidthMiBps > 0, Bandwidth: t.BandwidthMiBps,
		URISet: t.MigrateURI != "", URI: t.MigrateURI,
		ListenAddressSet: t.ListenAddress != "", ListenAddress: t.ListenAddress,
		DisksPortSet: t.DisksPort > 0, DisksPort: t.DisksPort,
		DisksURISet: t.DisksURI != "", DisksURI: t.DisksURI,
		TLSDestinationSet: t.TLSDestination != "", TLSDestination: t.TLSDestination,
		AutoConvergeInitialSet: t.AutoConvergeInitial > 0, AutoConvergeInitial: t.AutoConvergeInitial,
		AutoConvergeIncrementSet: t.AutoConvergeIncrement > 0, AutoConvergeIncrement: t.AutoConvergeIncrement,
		ParallelConnectionsSet: t.ParallelConnections > 0, ParallelConnections: t.ParallelConnections,
		DestNameSet: t.DestName != "", DestName: t.DestName,
		// Given whenever anything is copied: without it libvirt copies every
		// writable disk, also the ones that both hosts share.
		MigrateDisksSet: len(call.CopyDisks) > 0, MigrateDisks: call.CopyDisks,
	}
	flags := libvirt.MIGRATE_LIVE
	for flag, on := range map[libvirt.DomainMigrateFlags]bool{
		libvirt.MIGRATE_NON_SHARED_DISK:               len(call.CopyDisks) > 0,
		libvirt.MIGRATE_PERSIST_DEST:                  call.PersistXML != "",
		libvirt.MIGRATE_PEER2PEER:                     t.PeerToPeer,
		libvirt.MIGRATE_UNDEFINE_SOURCE:               t.UndefineSource,
		libvirt.MIGRATE_TLS:                           t.TLS,
		libvirt.MIGRATE_AUTO_CONVERGE:                 t.AutoConverge,
		libvirt.MIGRATE_POSTCOPY:                      t.PostCopy,
		libvirt.MIGRATE_PARALLEL:                      t.Parallel,
		libvirt.MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES: t.SynchronousWrites,
	} {
		if on {
			flags |= flag
		}
	}
	return p, flags
}

// sampler asks a running migration how far it is.
type sampler struct {
	dom      *libvirt.Domain
	call     migrate.Call
	began    time.Time
	disks    map[string]migrate.DiskProgress
	switched bool
}

// sample returns what is known now; false while the job has not begun, or is
// over.
func (s *sampler) sample() (migrate.Progress, bool) {
	job, err := s.dom.GetJobStats(0)
	if err != nil || job.Type == libvirt.DOMAIN_JOB_NONE {
		return migrate.Progress{}, false
	}
	p := migrate.Progress{
		Elapsed:         time.Since(s.began),
		MemoryDoneBytes: int64(job.MemProcessed),
		MemoryLeftBytes: int64(job.MemRemaining),
		MemoryAllBytes:  int64(job.MemTotal),
		MemoryPass:      int(job.MemIteration),
	}
	for _, target := range s.call.CopyDisks {
		p.Disks = append(p.Disks, s.disk(target, p.MemoryAllBytes > 0))
	}
	return p, true
}

// disk is the progress of one copy. Memory moves only when every mirror has
// caught up, and the mirrors are gone before the job is.
func (s *sampler) disk(target string, memoryMoves bool) migrate.DiskProgress {
	d := s.disks[target]
	d.Target = target
	if job, err := s.dom.GetBlockJobInfo(target, 0); err == nil && job.End > 0 {
		d.DoneBytes, d.TotalBytes = int64(job.Cur), int64(job.End)
	} else if memoryMoves {
		d.DoneBytes = d.TotalBytes
	}
	s.disks[target] = d
	return d
}

// postCopy switches to post-copy after the first pass over memory, if that was
// asked for. libvirt counts the first pass as 1.
func (s *sampler) postCopy(p migrate.Progress) {
	if !s.call.Tuning.PostCopy || s.switched || p.MemoryPass < 2 {
		return
	}
	s.switched = s.dom.MigrateStartPostCopy(0) == nil
}

var _ migrate.Hypervisor = (*Daemon)(nil)
