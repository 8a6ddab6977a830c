package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/volbridge/volbridge/internal/lockfile"
)

// FileLocks are locks as files in the run folder: domain-<uuid>.lock and
// volume-<pool>-<volume>.lock,
// device-<path>.lock.
type FileLocks struct {
	Dir string
	// Wait is how long a lock is waited for; 0 is as long as the context.
	Wait time.Duration
}

// Domain takes the lock of a domain.
func (l FileLocks) Domain(ctx context.Context, uuid string) (release func() error, err error) {
	return l.acquire(ctx, "domain-"+uuid)
}

// Volume takes the lock of a volume. Names that collide in one file only wait
// for each other.
func (l FileLocks) Volume(ctx context.Context, pool, volume string) (release func() error, err error) {
	return l.acquire(ctx, "volume-"+pool+"-"+volume)
}

// lockVolume takes the lock of a volume, and that of its device then: a volume
// that was renamed, or is in two pools of the configuration, has two names.
func (b *Bridge) lockVolume(ctx context.Context, poolName, volume, path string) (unlock func() error, err error) {
	byName, err := b.Locks.Volume(ctx, poolName, volume)
	if err != nil {
		return nil, fmt.Errorf("lock volume %s/%s: %w", poolName, volume, err)
	}
	if path == "" {
		return byName, nil
	}
	byPath, err := b.Locks.Device(ctx, path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock device %s of volume %s/%s: %w", path, poolName, volume, err), byName())
	}
	return func() error { return errors.Join(byPath(), byName()) }, nil
}

// Device takes the lock of a device path.
func (l FileLocks) Device(ctx context.Context, path string) (release func() error, err error) {
	return l.acquire(ctx, "device-"+path)
}

func (l FileLocks) acquire(ctx context.Context, name string) (func() error, error) {
	if l.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Wait)
		defer cancel()
	}
	return lockfile.Acquire(ctx, filepath.Join(l.Dir, fileName(name)+".lock"))
}

// fileName makes one file name of any text; a long one becomes its hash.
func fileName(text string) string {
	name := url.PathEscape(text)
	if len(name) <= 200 {
		return name
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
