package flasharray

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/volbridge/volbridge/pool"
)

// volume is what is known of a volume of this pool. It goes into the cache as
// JSON.
type volume struct {
	ID        string `json:"id"`
	ArrayName string `json:"name"`
	Serial    Serial `json:"serial"`
	SizeBytes int64  `json:"size_bytes"`
	CreatedMS int64  `json:"created_ms"`

	name string // in the pool
	// remembered: an earlier process of this boot was told so; the array may
	// have changed its name or size since.
	remembered bool
	// connections is to how many hosts and groups the array said just now that
	// it is connected; unknown: it did not say.
	connections int
}

const unknown = -1

// take makes a volume of what the array says; ok is false if it is not of this
// pool.
func (b *backend) take(a arrayVolume) (v volume, ok bool) {
	name, ok := b.inPool(a.Name)
	serial, err := ParseSerial(a.Serial)
	if !ok || err != nil || checkName(name) != nil {
		return volume{}, false
	}
	v = volume{ID: a.ID, ArrayName: a.Name, Serial: serial, SizeBytes: a.Provisioned, CreatedMS: a.CreatedMS, name: name, connections: unknown}
	if a.Connections != nil {
		v.connections = *a.Connections
	}
	return v, true
}

// public is the volume as callers see it.
func (b *backend) public(v volume, creationID string) pool.Volume {
	return pool.Volume{
		Pool: b.name, Name: v.name, Identity: b.place.transport.Identity(v.Serial),
		SizeBytes: v.SizeBytes, CreationID: creationID, Created: time.UnixMilli(v.CreatedMS),
	}
}

// find asks the array for a volume by its name.
func (b *backend) find(ctx context.Context, name string) (volume, error) {
	return b.ask(ctx, name, "names", b.onArray(name))
}

func (b *backend) ask(ctx context.Context, what, by, value string) (volume, error) {
	a, err := b.array.volume(ctx, by, value)
	if gone(err) {
		return volume{}, b.notFound(what, err)
	}
	if err != nil {
		return volume{}, err
	}
	v, ok := b.take(a)
	switch {
	case !ok:
		return volume{}, b.notFound(fmt.Sprintf("it is volume %s of the array, which is not in this pool", clip(a.Name)), nil)
	case by == "names" && a.Name != value:
		// Two names of one volume would be two volumes to who keeps records.
		return volume{}, b.notFound(fmt.Sprintf("the array's volume is called %s; write it so", a.Name), nil)
	}
	b.remember(v)
	return v, nil
}

// bySerial finds the volume of a device, without a call if an earlier process
// was told of it. What is remembered of a volume's name is compared with the
// array's when it is granted; its size is compared with the device's.
func (b *backend) bySerial(ctx context.Context, s Serial) (volume, error) {
	v, ok := b.remembered(s)
	if !ok {
		var err error
		if v, err = b.ask(ctx, "serial "+string(s), "filter", equals("serial", string(s))); err != nil {
			return volume{}, err
		}
	}
	b.seen.put(v, b.now())
	return v, nil
}

// remembered takes a volume from the cache. Only what says that the volume is
// of this pool counts: it may have come into it since.
func (b *backend) remembered(s Serial) (volume, bool) {
	var v volume
	if _, ok := b.array.Cache().Load(serialKey(s), &v); !ok || v.Serial != s || v.ID == "" || v.SizeBytes <= 0 {
		return volume{}, false
	}
	name, ours := b.inPool(v.ArrayName)
	v.name, v.remembered, v.connections = name, true, unknown
	return v, ours && checkName(name) == nil
}

func serialKey(s Serial) string { return "volume/" + string(s) }

func (b *backend) remember(v volume) {
	b.cacheFailed(b.array.Cache().Store(serialKey(v.Serial), v))
	switch {
	case v.connections == 0:
		b.note(freeKey(v))
	case v.connections > 0:
		b.forgetKey(freeKey(v)) // this host may be among them
	}
}

// forget makes the next look at the volume a fresh one, in each process.
func (b *backend) forget(v volume) {
	b.seen.drop(v.name)
	b.cacheFailed(b.array.Cache().Forget(serialKey(v.Serial)))
}

// cacheFailed: without a cache everything works, only slower.
func (b *backend) cacheFailed(err error) {
	if err != nil {
		b.log.WithError(err).Debug("the cache of the array")
	}
}

// recall is find, unless this process has just been told of the volume. Who
// asks again does not like the answer: then what is only remembered does not
// count.
func (b *backend) recall(ctx context.Context, name string) (volume, error) {
	if v, ok := b.seen.tell(name, b.now()); ok {
		return v, nil
	}
	v, err := b.find(ctx, name)
	if err == nil {
		b.seen.put(v, b.now())
	}
	return v, err
}

// seenFor is how long what a process was told counts as the same look: from
// the recognition of a disk to its grant. Between the two is the queue of all
// who write the records of this host; and a grant sees whether the volume has
// another name by now.
const seenFor = time.Minute

// seen is what this process was told of volumes just now. A grant uses an entry
// up, so one that is repeated, perhaps because the device had another size, asks
// the array.
type seen struct {
	mu      sync.Mutex
	volumes map[string]sighting
}

type sighting struct {
	volume volume
	at     time.Time
	told   bool
}

func (s *seen) put(v volume, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.volumes == nil {
		s.volumes = map[string]sighting{}
	}
	s.volumes[v.name] = sighting{volume: v, at: now}
}

// tell gives what is known once if it is remembered, else as often as one likes.
func (s *seen) tell(name string, now time.Time) (volume, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.volumes[name]
	if !ok || now.Sub(e.at) > seenFor || e.volume.remembered && e.told {
		delete(s.volumes, name)
		return volume{}, false
	}
	e.told = true
	s.volumes[name] = e
	return e.volume, true
}

// take gives what is known for the last time.
func (s *seen) take(name string, now time.Time) (volume, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.volumes[name]
	delete(s.volumes, name)
	return e.volume, ok && now.Sub(e.at) <= seenFor
}

func (s *seen) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.volumes, name)
}

// byID asks for a volume that has perhaps another name now.
func (b *backend) byID(ctx context.Context, id string) (arrayVolume, error) {
	return b.array.volume(ctx, "ids", id)
}
