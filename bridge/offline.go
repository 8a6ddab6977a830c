package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// The management of an array may be down while its data path lives. What a
// host can then know by itself is little, and only one case is safe: a guest
// that ran here alone, and stopped here without leaving for another host, and
// whose grant could not be returned since: no call that ends it was sent, for
// one whose reply is lost may have ended it. The array still names this host as
// the holder, so no other can have been granted the volume, unless a person has
// fenced this host, who is asked to make sure that it can start nothing; the device
// is there and is verified. Such a guest may start again. Everything else is refused.

// homely are the reasons of libvirt for which a guest stops without running on
// elsewhere. A saved guest is restored through the array like any other, so its
// image cannot have been started elsewhere while this host holds the volume.
// And one that failed to start has not run at all.
var homely = []string{"destroyed", "shutdown", "crashed", "saved", "failed"}

// Stop is why a guest stopped on this host.
type Stop struct {
	Reason string    // in libvirt's word; empty: not known
	Logged time.Time // when libvirt logged it; zero: libvirt said it itself
}

// of is the reason as far as it is that of the guest's last run, which began
// when the record was written.
func (s Stop) of(a state.Attachment) string {
	if !s.Logged.IsZero() && s.Logged.Before(a.Updated.Truncate(time.Millisecond)) {
		return ""
	}
	return s.Reason
}

// still says whether the record proves that the volume is this host's alone.
//
// A record of a handover does not: the host that the guest came from, or was to
// come from, may hold the volume too. Nor does one of an earlier boot, because
// how the guest left then is not known; nor one that says that the guest runs,
// or that it is being taken: then it was never seen to stop.
func (b *Bridge) still(a state.Attachment) bool {
	return a.BootID == b.BootID && a.Phase == state.Releasing && a.Mode == string(pool.Exclusive) &&
		slices.Contains(homely, a.Stopped)
}

// looseError: the grant has been returned, or may have been. Another host may
// have the volume from then on.
type looseError struct{ err error }

func (e *looseError) Error() string { return e.err.Error() }
func (e *looseError) Unwrap() error { return e.err }

// stillOurs writes back why the guest stopped, where the attachment could not be
// taken away and the grant stands for sure. A host that dies before that has
// no proof, and asks the array.
func (b *Bridge) stillOurs(ctx context.Context, a state.Attachment, why error) error {
	var loose *looseError
	if a.Stopped == "" || b.fromBefore(a) || errors.As(why, &loose) {
		return nil
	}
	// The time of the call may be over, waiting for the array took it.
	ctx, cancel := b.undoContext(ctx)
	defer cancel()
	a.Phase, a.Arrival = state.Releasing, ""
	return b.Store.Update(ctx, a)
}

// wayRecord is how a device was reached, for the state file.
func wayRecord(c pool.Connection) []byte {
	text, err := json.Marshal(c)
	if err != nil {
		// A Connection is plain data; without the record an array that is
		// silent is waited for.
		return nil
	}
	return text
}

func recordedWay(a state.Attachment) (pool.Connection, bool) {
	var c pool.Connection
	if len(a.Device) == 0 || json.Unmarshal(a.Device, &c) != nil {
		return pool.Connection{}, false
	}
	return c, c.Pool == a.Pool && c.Volume == a.Volume && c.Identity != "" && c.SizeBytes > 0 && c.Path == a.Path
}

// withRecords are the pools of this host, helped out by a domain's records
// where a pool's management does not answer. silent has the names of those that
// were found so: each is waited for once.
func (b *Bridge) withRecords(records []state.Attachment, silent *sync.Map) Pools {
	var own []state.Attachment
	for _, a := range records {
		if _, ok := recordedWay(a); ok && b.still(a) {
			own = append(own, a)
		}
	}
	if len(own) == 0 {
		return b.Pools
	}
	return recordedPools{b.Pools, b, own, silent}
}

type recordedPools struct {
	Pools
	bridge  *Bridge
	records []state.Attachment
	silent  *sync.Map
}

// Open returns the backend, with the records of its volumes behind it.
func (p recordedPools) Open(name string) (pool.Backend, error) {
	backend, err := p.Pools.Open(name)
	if err != nil {
		return nil, err
	}
	return recordedBackend{backend, p, name}, nil
}

type recordedBackend struct {
	pool.Backend
	pools recordedPools
	name  string
}

// find returns the record of one of the pool's volumes, and how it was reached.
func (r recordedBackend) find(is func(state.Attachment) bool) (pool.Connection, bool) {
	for _, a := range r.pools.records {
		if a.Pool == r.name && is(a) {
			return recordedWay(a)
		}
	}
	return pool.Connection{}, false
}

// LookupPath implements pool.Backend.
func (r recordedBackend) LookupPath(ctx context.Context, path string) (pool.Volume, error) {
	v, err := r.Backend.LookupPath(ctx, path)
	if !errors.Is(err, pool.ErrUnreachable) {
		return v, err
	}
	r.pools.silent.Store(r.name, err)
	if c, ok := r.find(func(a state.Attachment) bool { return a.Path == filepath.Clean(path) }); ok {
		return pool.Volume{Pool: r.name, Name: c.Volume, Identity: c.Identity, SizeBytes: c.SizeBytes}, nil
	}
	return v, err
}

// Connection implements pool.Backend.
func (r recordedBackend) Connection(ctx context.Context, volume string, host pool.Host) (pool.Connection, error) {
	return r.orRecorded(volume, func() (pool.Connection, error) { return r.Backend.Connection(ctx, volume, host) })
}

// Grant implements pool.Backend. Only a start of the guest alone is helped out:
// beside whom another could be granted, the array alone knows.
func (r recordedBackend) Grant(ctx context.Context, q pool.GrantRequest) (pool.Connection, error) {
	if q.Mode != pool.Exclusive {
		return r.Backend.Grant(ctx, q)
	}
	c, err := r.orRecorded(q.Volume, func() (pool.Connection, error) { return r.Backend.Grant(ctx, q) })
	if why, is := r.pools.silent.Load(r.name); is && err == nil {
		r.pools.bridge.log().WithError(why.(error)).Warn(fmt.Sprintf("domain %s starts although the array of volume %s/%s does not answer: "+
			"this host still holds the volume by its own record, and the device is there", q.Owner.Name, r.name, q.Volume))
	}
	return c, err
}

// orRecorded asks, unless the pool was found silent and the record answers.
func (r recordedBackend) orRecorded(volume string, ask func() (pool.Connection, error)) (pool.Connection, error) {
	recorded, ok := r.find(func(a state.Attachment) bool { return a.Volume == volume })
	if _, silent := r.pools.silent.Load(r.name); silent && ok {
		return recorded, nil
	}
	c, err := ask()
	if !ok || !errors.Is(err, pool.ErrUnreachable) {
		return c, err
	}
	r.pools.silent.Store(r.name, err)
	return recorded, nil
}

// explain says of an array's silence why this host may not do without it.
func (b *Bridge) explain(err error, records []state.Attachment) error {
	if !errors.Is(err, pool.ErrUnreachable) {
		return err
	}
	why := "this host has no record of having held the volume last"
	for _, a := range records {
		switch {
		case b.still(a):
			continue
		case b.fromBefore(a):
			why = "this host was booted since it held the volume"
		case a.Mode == string(pool.Handover):
			why = "the guest came here by migration"
		case a.Stopped == "migrated":
			why = "the guest left for another host"
		case a.Phase == state.Releasing:
			why = "how the guest stopped here is not known, or its grant may have been returned"
		default:
			why = "this host is not known to have seen the guest stop"
		}
	}
	return fmt.Errorf("%w; only the array can say that no other host has the volume: %s", err, why)
}
