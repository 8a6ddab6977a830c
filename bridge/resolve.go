package bridge

import (
	"context"
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// job is one disk on its way in.
type job struct {
	disk      Disk
	owner     pool.Owner
	mode      pool.AccessMode
	phase     state.Phase // what it becomes
	arrival   string      // the token that it becomes
	ready     bool        // `migrate` has taken it already, in this boot
	announced bool        // `migrate` takes it: nobody opens it yet

	backend pool.Backend
	conn    pool.Connection

	prior   *state.Attachment // the record that was there before
	claimed bool              // a record may be there
	granted bool              // the grant may exist
	sure    bool              // the pool has said so
	denied  bool              // the pool has said no
	refused []pool.Holder     // who was in the way of the grant
	// recorded: the record may say what the disk becomes.
	recorded bool
}

func (j *job) key() state.Key {
	return state.Key{DomainUUID: j.owner.UUID, Pool: j.disk.Pool, Volume: j.disk.Volume}
}

// managed recognises the disks of a document and logs what is left out.
func (b *Bridge) managed(ctx context.Context, doc *domainxml.Document, pools Pools) ([]Disk, error) {
	for _, m := range Stale(doc) {
		b.log().WithFields(map[string]any{"domain": doc.Name(), "disk": m.Target, "volume": m.Pool + "/" + m.Volume}).
			Info("the metadata names a disk that the domain no longer has")
	}
	return Managed(ctx, doc, pools)
}

// resolve finds for each disk how this host would reach its volume. Nothing
// is changed.
func (b *Bridge) resolve(ctx context.Context, doc *domainxml.Document, disks []Disk, pools Pools) ([]*job, error) {
	jobs := make([]*job, len(disks))
	err := each(len(disks), b.parallel(), func(i int) error {
		j := &job{disk: disks[i], owner: pool.Owner{UUID: doc.UUID(), Name: doc.Name()}}
		jobs[i] = j
		return diskError(j.disk, doc.Name(), b.connection(ctx, j, pools))
	})
	if err == nil {
		err = distinct(doc, jobs)
	}
	return jobs, err
}

func (b *Bridge) connection(ctx context.Context, j *job, pools Pools) (err error) {
	d := j.disk
	if j.backend, err = pools.Open(d.Pool); err != nil {
		return fmt.Errorf("on host %s: %w", b.Host.Name, err)
	}
	if j.conn, err = j.backend.Connection(ctx, d.Volume, b.Host); err != nil {
		return err
	}
	// A path of our own form is the same on every host: if it is not this
	// volume's, the guest uses another one.
	if strings.HasPrefix(d.XML.Source, LinkDir) && d.XML.Source != j.conn.Path {
		return fmt.Errorf("source %s is not volume %s/%s, whose path is %s: make source and metadata agree with \"virsh edit\"",
			d.XML.Source, d.Pool, d.Volume, j.conn.Path)
	}
	if d.fits(j.conn.SizeBytes) == nil {
		return nil
	}
	// The pool may have told what it remembered; who asks again is told anew.
	if j.conn, err = j.backend.Connection(ctx, d.Volume, b.Host); err != nil {
		return err
	}
	return d.fits(j.conn.SizeBytes)
}

// fits refuses a device that ends before the guest's disk does.
func (d Disk) fits(sizeBytes int64) error {
	if sizeBytes >= d.SizeBytes {
		return nil
	}
	return fmt.Errorf("volume %s/%s has %d bytes, but the guest's disk has %d: resize the volume to at least that",
		d.Pool, d.Volume, sizeBytes, d.SizeBytes)
}

// startable refuses what a start cannot use: libvirt does not read the XML
// back then, so the source must be right already.
func (j *job) startable() error {
	x := j.disk.XML
	if x.Kind == "block" && x.Source == j.conn.Path {
		return nil
	}
	remedy := fmt.Sprintf("write <disk type='block'> with <source dev='%s'/>, with \"virsh edit\"", j.conn.Path)
	if x.Kind == "volume" {
		// The only source that adopt changes.
		remedy = fmt.Sprintf("run \"volbridge domain adopt %s\", or %s", j.owner.Name, remedy)
	}
	return fmt.Errorf("its source is %s, but on this host volume %s/%s is block device %s: %s",
		sourceText(x), j.disk.Pool, j.disk.Volume, j.conn.Path, remedy)
}

// slice returns the size of the storage slice that the disk needs on a device
// of sizeBytes; 0 is none. What the guest sees now decides: a slice that is
// there stays, whoever wrote it, because a block copy needs exactly that size;
// else all of a volume that it has already, else the metadata.
func (d Disk) slice(sizeBytes int64) int64 {
	if d.XML.SliceBytes > 0 {
		return d.XML.SliceBytes
	}
	if d.whole || sizeBytes == d.SizeBytes {
		return 0
	}
	return d.SizeBytes
}

// blockDisk is what the document must say of the disk on this host.
func (j *job) blockDisk(sizeBytes int64) domainxml.BlockDisk {
	return domainxml.BlockDisk{Target: j.disk.Target, Path: j.conn.Path, SliceBytes: j.disk.slice(sizeBytes)}
}
