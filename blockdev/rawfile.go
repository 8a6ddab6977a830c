package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openRaw opens the file behind a volume. Neither it nor its folder may be a
// link: those two are the volume's own, and a link there leads out of the
// pool.
func openRaw(path string) (*os.File, unix.Stat_t, error) {
	var s unix.Stat_t
	folder, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, s, rawError(filepath.Dir(path), err)
	}
	defer unix.Close(folder)
	fd, err := unix.Openat(folder, filepath.Base(path), unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, s, rawError(path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err := unix.Fstat(fd, &s); err != nil {
		f.Close()
		return nil, s, rawError(path, err)
	}
	if s.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, s, fmt.Errorf("%s is no regular file", path)
	}
	return f, s, nil
}

func rawError(path string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		hint = ": it is a link or no folder, which a volume never is; see who put it there"
	case errors.Is(err, fs.ErrNotExist):
		hint = ": is the pool's file system mounted?"
	case errors.Is(err, unix.EROFS):
		hint = ": mount the pool's file system read-write"
	}
	return fmt.Errorf("open raw file %s: %w%s", path, err, hint)
}

// noDirectIO explains why a file cannot be a volume here. Through the page
// cache two hosts would see different data, each its own.
func noDirectIO(f *os.File) error {
	return fmt.Errorf("file system %s cannot do direct I/O in blocks of %d bytes on %s; move the pool to one that can "+
		"(ext4 or xfs on a disk with 512-byte sectors, NFS)", fsName(f), loopBlockBytes, f.Name())
}

func fsName(f *os.File) string {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return "(unknown)"
	}
	for _, known := range []struct {
		magic int64
		name  string
	}{
		{unix.EXT4_SUPER_MAGIC, "ext4"}, {unix.XFS_SUPER_MAGIC, "xfs"}, {unix.BTRFS_SUPER_MAGIC, "btrfs"},
		{unix.NFS_SUPER_MAGIC, "nfs"}, {unix.TMPFS_MAGIC, "tmpfs"}, {unix.RAMFS_MAGIC, "ramfs"},
		{unix.OVERLAYFS_SUPER_MAGIC, "overlay"}, {unix.FUSE_SUPER_MAGIC, "fuse"}, {0x2FC12FC1, "zfs"},
		{0x01161970, "gfs2"}, {unix.CEPH_SUPER_MAGIC, "ceph"},
	} {
		if int64(s.Type) == known.magic {
			return known.name
		}
	}
	return fmt.Sprintf("of type %#x", s.Type)
}
