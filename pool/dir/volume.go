package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

const (
	metaName   = "volume.json"
	diskName   = "disk.raw"
	lockName   = "lock"
	grantsName = "grants"
)

// meta is volume.json.
type meta struct {
	Format    int    `json:"format"`
	UUID      string `json:"uuid"`
	Name      string `json:"name"`
	SizeBytes int64  `json:"size_bytes"`
	// GrowingToBytes is set before the file grows and cleared after it: with
	// it the file may have either size, so a power cut at any moment leaves a
	// volume whose size is known.
	GrowingToBytes int64     `json:"growing_to_bytes,omitempty"`
	Created        time.Time `json:"created"`
	CreationID     string    `json:"creation_id,omitempty"`
}

// folder is the opened folder of a volume.
type folder struct {
	root *os.Root
	name string
}

func (f *folder) close() { f.root.Close() }

// volume is a folder whose contents were read and make sense.
type volume struct {
	*folder
	meta      meta
	sizeBytes int64 // of the file
}

// damaged says that something has the name of a volume but is none that can
// be used. The name is taken; nothing more is known.
type damaged struct{ error }

func (d damaged) Unwrap() error { return d.error }

// openFolder opens a volume's folder, or gives pool.ErrNotFound. A link in its
// place is refused, wherever it leads: it would give one volume two names.
func openFolder(root *os.Root, name string) (*folder, error) {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, pool.ErrNotFound
	}
	if err != nil {
		return nil, explain(err)
	}
	if !info.IsDir() {
		return nil, damaged{fmt.Errorf("%s is no folder (mode %s), so no volume of ours", filepath.Join(root.Name(), name), info.Mode())}
	}
	sub, err := root.OpenRoot(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, pool.ErrNotFound
	}
	if err != nil {
		return nil, explain(err)
	}
	f := &folder{sub, name}
	if err := f.inPlace(root); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// inPlace says whether the folder still is the one with its name: another
// host may have deleted the volume, and even made one of the same name.
func (f *folder) inPlace(root *os.Root) error {
	mine, err := f.root.Stat(".")
	if err != nil {
		return explain(err)
	}
	now, err := root.Lstat(f.name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, now) {
		return fmt.Errorf("%w: it was deleted just now", pool.ErrNotFound)
	}
	return explain(err)
}

// openVolume opens a volume and reads what it is.
func openVolume(root *os.Root, name string) (*volume, error) {
	f, err := openFolder(root, name)
	if err != nil {
		return nil, err
	}
	v, err := f.read()
	if err == nil {
		return v, nil
	}
	defer f.close()
	if gone := f.inPlace(root); errors.Is(gone, pool.ErrNotFound) {
		return nil, gone // what we saw was its removal
	}
	return nil, err
}

// read reads without the lock. A resize that runs meanwhile changes
// volume.json and the file one after the other: a size that does not fit is
// believed only when volume.json was the same before and after it was seen.
func (f *folder) read() (*volume, error) {
	m, err := f.readMeta()
	for err == nil {
		info, stat := f.root.Lstat(diskName)
		if stat != nil {
			return nil, explain(stat)
		}
		if !info.Mode().IsRegular() {
			return nil, damaged{fmt.Errorf("%s is no regular file (mode %s); a link could lead out of the pool, so it is not followed",
				f.path(diskName), info.Mode())}
		}
		wrong := f.checkSize(m, info.Size())
		if wrong == nil {
			return &volume{f, m, info.Size()}, nil
		}
		seen := m
		if m, err = f.readMeta(); err == nil && m == seen {
			return nil, wrong
		}
	}
	return nil, err
}

func (f *folder) readMeta() (m meta, err error) {
	err = readJSON(f.root, metaName, &m)
	if errors.Is(err, fs.ErrNotExist) {
		return m, damaged{fmt.Errorf("%s has no %s: it is no volume, or a damaged one; restore the file or move the folder away",
			f.root.Name(), metaName)}
	}
	if err != nil {
		return m, err
	}
	if err := f.check(m); err != nil {
		return m, damaged{err}
	}
	return m, nil
}

func (f *folder) path(name string) string { return filepath.Join(f.root.Name(), name) }

func (f *folder) check(m meta) error {
	id, err := uuid.Parse(m.UUID)
	switch {
	case err != nil || id.String() != m.UUID:
		return fmt.Errorf("%s is damaged: %q is no UUID", f.path(metaName), m.UUID)
	case m.Name != f.name:
		return fmt.Errorf("%s belongs to a volume named %q: was the folder copied or renamed? rename it back", f.path(metaName), m.Name)
	case m.SizeBytes <= 0 || m.SizeBytes%sectorBytes != 0:
		return fmt.Errorf("%s is damaged: %d is no possible size", f.path(metaName), m.SizeBytes)
	}
	return nil
}

func (f *folder) checkSize(m meta, sizeBytes int64) error {
	if sizeBytes == m.SizeBytes || m.GrowingToBytes > 0 && sizeBytes == m.GrowingToBytes {
		return nil
	}
	remedy := fmt.Sprintf("if nothing was written beyond the end, run: truncate -s %d %s", m.SizeBytes, f.path(diskName))
	if sizeBytes < m.SizeBytes {
		remedy = "data is missing at its end: restore the file"
	}
	return damaged{fmt.Errorf("%s has %d bytes (%s), but the volume has %d (%s); somebody else changed the file; %s", f.path(diskName),
		sizeBytes, units.FormatSize(sizeBytes), m.SizeBytes, units.FormatSize(m.SizeBytes), remedy)}
}

// public is the volume as callers see it.
func (b *backend) public(v *volume) pool.Volume {
	return pool.Volume{
		Pool: b.name, Name: v.name, Identity: blockdev.Identity(v.meta.UUID),
		SizeBytes: v.sizeBytes, CreationID: v.meta.CreationID, Created: v.meta.Created,
	}
}

func (b *backend) connection(v *volume, host pool.Host) pool.Connection {
	return pool.Connection{
		Protocol: blockdev.Loop, Pool: b.name, Volume: v.name, Identity: blockdev.Identity(v.meta.UUID),
		SizeBytes: v.sizeBytes, HostID: host.ID, Path: blockdev.StablePath(b.name, v.name),
		File: filepath.Join(b.path, v.name, diskName),
	}
}
