package bridge

import (
	"context"
	"fmt"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// One device may have two names: two pools of the configuration are the same
// place, a DRBD resource is LINSTOR's and that of a pool of type drbd, a volume
// was renamed while its guest ran. Records and pools tell volumes apart by their
// names, and a storage that keeps hosts apart lets one host have its device twice.
// So what a host gives to two guests is judged by the path too.

// unshared refuses a device that another domain has here under another name. It
// is asked under the device's lock, when the claim of this disk is recorded: of two
// that come at once one at least sees the other.
func (b *Bridge) unshared(ctx context.Context, j *job) error {
	if j.conn.Path == "" {
		return nil
	}
	all, err := b.Store.Path(ctx, j.conn.Path)
	if err != nil {
		return err
	}
	for _, a := range all {
		both := j.mode == pool.Multi && a.Mode == string(pool.Multi)
		if a.DomainUUID != j.owner.UUID && !both {
			return b.sameDevice(j, a)
		}
	}
	return nil
}

func (b *Bridge) sameDevice(j *job, a state.Attachment) error {
	owner := pool.Owner{UUID: a.DomainUUID, Name: a.DomainName}
	return fmt.Errorf("volume %s/%s is device %s, which is also volume %s/%s and used by %s (%s, %s) on this host: "+
		"stop that domain first; if it does not run, run `volbridge recover`; a device should belong to one pool only",
		j.disk.Pool, j.disk.Volume, j.conn.Path, a.Pool, a.Volume, owner.Text(), a.DomainUUID, a.Phase)
}

// distinct refuses a domain that has one device as two disks.
func distinct(doc *domainxml.Document, jobs []*job) error {
	first := make(map[string]*job, len(jobs))
	for _, j := range jobs {
		other, is := first[j.conn.Path]
		if is && j.conn.Path != "" {
			return diskError(j.disk, doc.Name(), fmt.Errorf("volume %s/%s is the same device (%s) as volume %s/%s, which is disk %s already: remove one of the two",
				j.disk.Pool, j.disk.Volume, j.conn.Path, other.disk.Pool, other.disk.Volume, other.disk.Target))
		}
		first[j.conn.Path] = j
	}
	return nil
}
