package migrate

import (
	"context"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

// reusedPool is a pool where somebody deletes each new volume at once and makes
// another one of its name.
type reusedPool struct{ fakePool }

func (p reusedPool) Connection(ctx context.Context, volume string, h pool.Host) (pool.Connection, error) {
	c, err := p.fakePool.Connection(ctx, volume, h)
	if volume != "data" {
		c.Identity = "another"
	}
	return c, err
}

// A guest is not copied onto a volume that only has the name of the one that was
// made for it.
func TestVolumeOfTheSameName(t *testing.T) {
	w := newWorld()
	m := w.mover(&fakeDaemon{w: w, name: "kvm01"}, &fakeDaemon{w: w, name: "kvm02"})
	m.Pools = func(string) (pool.Backend, error) { return reusedPool{fakePool{w}}, nil }
	_, err := m.Run(t.Context(), Options{Domain: "web1", DestURI: "fake://kvm02", Disks: map[string]DiskTarget{"vda": {Pool: "fast"}}})
	if err == nil || !strings.Contains(err.Error(), "made volume fast/") || w.guest["kvm01"] != "running" {
		t.Errorf("%v\n%s", err, w)
	}
}

// What was copied from is not removed by its name: where that is all that tells
// volumes apart, the one that was made under it since stays.
func TestVolumeMadeAgainIsNotRemoved(t *testing.T) {
	w := newWorld()
	m := w.mover(&fakeDaemon{w: w, name: "kvm01"}, &fakeDaemon{w: w, name: "kvm02"})
	w.volumes["old"] = &fakeVolume{Volume: pool.Volume{Pool: "fast", Name: "old", Identity: "old", CreationID: "second"}}
	args := removeArgs{Target: "vda", Pool: "fast", Volume: "old", Identity: "old", CreationID: "first"}
	if err := m.removeVolume(t.Context(), args); err == nil || !strings.Contains(err.Error(), "made again under its name") || w.volumes["old"] == nil {
		t.Errorf("%v, left %v", err, w.volumes["old"])
	}
	args.CreationID = "second"
	if err := m.removeVolume(t.Context(), args); err != nil || w.volumes["old"] != nil {
		t.Errorf("%v, left %v", err, w.volumes["old"])
	}
}
