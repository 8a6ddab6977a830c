package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/migrate"
)

// sampleEvery is how often a running migration is asked for its progress;
// libvirt announces none.
const sampleEvery = 500 * time.Millisecond

// abortLimit is how long libvirt may take to end what it was told to abort. It
// ends at once, but for a disk that is being copied to a host that is silent: QEMU
// waits for that one until TCP gives up, and nothing that libvirt offers ends it.
const abortLimit = 15 * time.Second

var errStuck = fmt.Errorf("libvirt was told to abort, and has not ended it within %s: the source's QEMU waits for the other host, "+
	"until that answers or TCP gives up, which takes about 15 minutes", abortLimit)

// Migrate moves the domain and returns libvirt's last word. When ctx ends, or the
// connection to the destination does, it aborts the job and goes on waiting: only
// libvirt knows when it is over. What takes too long then goes on without it.
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
	detect, err := d.detectsZeroes()
	if err != nil {
		return err
	}
	done, err := begin(dom, to, call, detect)
	if err != nil {
		return err
	}

	sampler := &sampler{dom: dom, call: call, began: time.Now(), disks: map[string]migrate.DiskProgress{}}
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	lost := to.lost
	if call.Tuning.PeerToPeer {
		lost = nil // the daemons have a connection of their own
	}
	aborting := false
	var over <-chan time.Time
	for {
		select {
		case err := <-done:
			select {
			case <-lost: // it was why, and both are told at once
				aborting = true
			default:
			}
			return lostTo(to, aborting, plain(err))
		case <-lost:
			// The migration cannot be finished without this connection, but
			// the source's QEMU would wait for the other host to answer.
			aborting, lost = true, nil
		case <-over:
			return lostTo(to, aborting, errStuck)
		case <-tick.C:
		}
		if aborting || ctx.Err() != nil {
			if over == nil {
				over = time.After(abortLimit)
			}
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

// sinceDetectZeroes is the libvirt that knows VIR_MIGRATE_PARAM_MIGRATE_DISKS_DETECT_ZEROES.
const sinceDetectZeroes = 10_009_000

// detectsZeroes says whether this program's library and the source's daemon can
// send zeroes as zeroes. Newer ones have to be told: QEMU 10.0 otherwise writes
// out what a thin disk does not have, and the new volume is allocated whole.
func (d *Daemon) detectsZeroes() (bool, error) {
	library, err := libvirt.GetVersion()
	if err != nil {
		return false, plain(err)
	}
	daemon, err := d.conn.GetLibVersion()
	if err != nil {
		return false, plain(err)
	}
	return library >= sinceDetectZeroes && daemon >= sinceDetectZeroes, nil
}

// lostTo adds to an error that the connection to the destination was lost.
func lostTo(to *Daemon, lost bool, err error) error {
	if err == nil || !lost {
		return err
	}
	return fmt.Errorf("the connection to %s was lost: %w", to.uri, err)
}

// begin has libvirt move the domain, and sends its last word. Both connections
// stay until then, whoever closes them: the call may outlive who waits for it.
func begin(dom *libvirt.Domain, to *Daemon, call migrate.Call, detectZeroes bool) (<-chan error, error) {
	if err := dom.Ref(); err != nil {
		return nil, plain(err)
	}
	if err := to.conn.Ref(); err != nil {
		return nil, errors.Join(plain(err), plain(dom.Free()))
	}
	done := make(chan error, 1)
	go func() {
		err := start(dom, to, call, detectZeroes)
		_, closing := to.conn.Close()
		done <- errors.Join(err, closing, dom.Free())
	}()
	return done, nil
}

func start(dom *libvirt.Domain, to *Daemon, call migrate.Call, detectZeroes bool) error {
	params, flags := arguments(call, detectZeroes)
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
func arguments(call migrate.Call, detectZeroes bool) (*libvirt.DomainMigrateParameters, libvirt.DomainMigrateFlags) {
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
		// All of them go into volumes that were made for this migration, which
		// read as zeroes.
		MigrateDisksDetectZeroesSet: detectZeroes && len(call.CopyDisks) > 0, MigrateDisksDetectZeroesList: call.CopyDisks,
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
