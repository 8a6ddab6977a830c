package flasharray

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// backing is the path of a volume's file, "" if volumes have none.
func (a *Array) backing(v *volume) string {
	if a.o.Dir == "" {
		return ""
	}
	return filepath.Join(a.o.Dir, v.Serial)
}

func (a *Array) makeBacking(v *volume) error {
	if a.o.Dir == "" {
		return nil
	}
	f, err := os.OpenFile(a.backing(v), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(v.Bytes), f.Close())
}

// resizeBacking also tells the data path.
func (a *Array) resizeBacking(v *volume) error {
	if a.o.Dir != "" {
		if err := os.Truncate(a.backing(v), v.Bytes); err != nil {
			return err
		}
	}
	if a.o.DataPath == nil {
		return nil
	}
	return a.o.DataPath.Resize(a.namespace(v))
}

func (a *Array) removeBacking(v *volume) error {
	if a.o.DataPath != nil {
		if err := a.o.DataPath.Remove(a.namespace(v)); err != nil {
			return err
		}
	}
	if a.o.Dir == "" {
		return nil
	}
	if err := os.Remove(a.backing(v)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// copyBacking gives target the source's data. Only what is allocated is
// written; the rest of the target is made a hole.
func (a *Array) copyBacking(source, target *volume) error {
	if a.o.Dir == "" {
		return nil
	}
	from, err := os.Open(a.backing(source))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(a.backing(target), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := unix.Fallocate(int(to.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, target.Bytes); err != nil {
		return errors.Join(fmt.Errorf("empty %s: %w", to.Name(), err), to.Close())
	}
	return errors.Join(copyExtents(from, to), to.Close())
}

func copyExtents(from, to *os.File) error {
	for at := int64(0); ; {
		data, err := from.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := from.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(to, data), io.NewSectionReader(from, data, hole-data)); err != nil {
			return err
		}
		at = hole
	}
}
