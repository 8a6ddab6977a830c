package bridge

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// renamed finds the volume of a record whose name is another volume's by now, or
// nobody's (byName says so): an administrator has renamed the volume while its
// guest ran. What counts is the device that this host was given. The result is
// the record with the name that the volume has now; gone says that there is no
// such volume any more and nothing is left to do but what err says.
//
// The volume that has the name now is not touched. It is another one's.
func (b *Bridge) renamed(ctx context.Context, backend pool.Backend, a state.Attachment, byName error) (
	now state.Attachment, conn pool.Connection, gone bool, err error) {
	v, err := backend.LookupPath(ctx, a.Path)
	switch {
	case errors.Is(err, pool.ErrNotFound) && b.Devices.Present(a.Path):
		return a, conn, true, fmt.Errorf("volume %s/%s: this host was given device %s, which no volume of the pool has any more, and it is still here: "+
			"see on the storage what became of the volume, and disconnect it from host %s there: %w", a.Pool, a.Volume, a.Path, b.Host.Name, err)
	case errors.Is(err, pool.ErrNotFound) && byName != nil:
		// The volume is gone and so is its device; only a grant may be left.
		return a, conn, true, b.revoke(ctx, backend, a)
	case errors.Is(err, pool.ErrNotFound):
		b.log().Warnf("volume %s/%s is not the one that this host was given (%s), which is gone: it is left alone", a.Pool, a.Volume, a.Path)
		return a, conn, true, nil
	case err != nil:
		return a, conn, false, err
	}
	now = a
	now.Volume = v.Name
	if conn, err = backend.Connection(ctx, v.Name, b.Host); err != nil {
		return a, conn, false, err
	}
	if v.Identity != "" && v.Identity != conn.Identity {
		return a, conn, false, fmt.Errorf("volume %s/%s: this host was given device %s, which the pool says is volume %s, and then that %s is: repeat the command",
			a.Pool, a.Volume, a.Path, v.Name, conn.Path)
	}
	if v.Name != a.Volume {
		b.log().Warnf("volume %s/%s is called %s now: that is given back", a.Pool, a.Volume, v.Name)
	}
	return now, conn, false, nil
}
