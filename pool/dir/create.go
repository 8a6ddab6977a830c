package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/lockfile"
	"github.com/volbridge/volbridge/pool"
)

const creatingPrefix = ".creating-"

// errSwept: another process took our unfinished folder for one that a crash
// had left.
var errSwept = errors.New("the unfinished volume was swept away")

// create builds the volume in a folder of its own and renames that: so a
// volume is there whole or not at all, and of two who make one name the kernel
// lets one win.
func (b *backend) create(ctx context.Context, r pool.CreateRequest) (pool.Volume, error) {
	if r.SizeBytes <= 0 {
		return pool.Volume{}, fmt.Errorf("a volume of %d bytes is not possible; ask for 1 or more", r.SizeBytes)
	}
	if b.RoundSize(r.SizeBytes) == math.MaxInt64 {
		return pool.Volume{}, fmt.Errorf("%w: %d bytes are more than any file can have", pool.ErrNoSpace, r.SizeBytes)
	}
	root, err := b.openPool()
	if err != nil {
		return pool.Volume{}, err
	}
	defer root.Close()
	if err := b.sweep(root); err != nil {
		return pool.Volume{}, err
	}
	for ctx.Err() == nil {
		v, err := b.existing(root, r)
		if !errors.Is(err, pool.ErrNotFound) {
			return v, err
		}
		m := b.newMeta(r)
		err = b.build(ctx, root, m)
		if err == nil {
			return b.public(&volume{folder: &folder{name: m.Name}, meta: m, sizeBytes: m.SizeBytes}), nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, errSwept) {
			return pool.Volume{}, explain(err)
		}
	}
	return pool.Volume{}, context.Cause(ctx)
}

// existing returns the volume of that name if this request has made it.
func (b *backend) existing(root *os.Root, r pool.CreateRequest) (pool.Volume, error) {
	v, err := openVolume(root, r.Name)
	var d damaged
	if errors.As(err, &d) {
		return pool.Volume{}, fmt.Errorf("%w, or something else has its name: %w", pool.ErrExists, err)
	}
	if err != nil {
		return pool.Volume{}, err
	}
	defer v.close()
	if r.CreationID == "" || r.CreationID != v.meta.CreationID {
		return pool.Volume{}, pool.ErrExists
	}
	return b.public(v), nil
}

func (b *backend) newMeta(r pool.CreateRequest) meta {
	return meta{
		Format: format, UUID: uuid.NewString(), Name: r.Name, SizeBytes: b.RoundSize(r.SizeBytes),
		Created: b.now().UTC(), CreationID: r.CreationID,
	}
}

// build makes the volume; fs.ErrExist means that the name was taken meanwhile.
func (b *backend) build(ctx context.Context, root *os.Root, m meta) (err error) {
	temp := creatingPrefix + m.UUID
	if err := root.Mkdir(temp, 0o700); err != nil {
		return err
	}
	release, err := lockfile.AcquireFunc(ctx, filepath.Join(b.path, temp, lockName), func() (*os.File, error) {
		return root.OpenFile(filepath.Join(temp, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	})
	if err != nil {
		return errors.Join(swept(err), ignoreGone(root.Remove(temp)))
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := fill(root, temp, m); err != nil {
		return errors.Join(swept(err), removeFolder(root, temp))
	}
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), removeFolder(root, temp))
	}
	if err := root.Rename(temp, m.Name); err != nil {
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOTDIR) {
			err = fs.ErrExist
		}
		return errors.Join(swept(err), removeFolder(root, temp))
	}
	return syncDir(root)
}

func swept(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errSwept, err)
	}
	return err
}

func fill(root *os.Root, temp string, m meta) error {
	sub, err := root.OpenRoot(temp)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.Mkdir(grantsName, 0o700); err != nil {
		return err
	}
	if err := makeFile(sub, diskName, func(f *os.File) error { return f.Truncate(m.SizeBytes) }); err != nil {
		return err
	}
	return writeJSON(sub, metaName, m)
}
