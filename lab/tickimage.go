package lab

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	tickOffset = 64 * 512 // of the sector that the guest writes
	sector     = 512

	// The pattern: a run near the start and a piece at the very end.
	patternOffset = 1 << 20
	patternBytes  = 6 << 20
	tailBytes     = 64 << 10

	// MinTickImageBytes is the least size of a tick image.
	MinTickImageBytes = patternOffset + patternBytes + tailBytes
)

// WriteTickImage writes a bootable tick guest to path and fills parts of the
// rest with bytes that follow from seed. The format is raw or qcow2; a raw
// path may also be a block device, which must read as zeroes.
func WriteTickImage(ctx context.Context, path, format string, sizeBytes, seed int64) error {
	if sizeBytes < MinTickImageBytes || sizeBytes%sector != 0 {
		return fmt.Errorf("write tick image %s: size must be a multiple of %d and at least %d", path, sector, MinTickImageBytes)
	}
	if format == "raw" {
		return writeRawTickImage(path, sizeBytes, seed)
	}
	raw, err := temporaryBeside(path)
	if err != nil {
		return err
	}
	defer os.Remove(raw)
	if err := writeRawTickImage(raw, sizeBytes, seed); err != nil {
		return err
	}
	return qemuImg(ctx, "convert", "-f", "raw", "-O", format, raw, path)
}

func writeRawTickImage(path string, sizeBytes, seed int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(fillRaw(f, sizeBytes, seed), f.Close())
}

func fillRaw(f *os.File, sizeBytes, seed int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		if err := f.Truncate(sizeBytes); err != nil {
			return err
		}
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], uint64(seed))
	random := rand.NewChaCha8(key)
	for _, part := range []struct{ offset, length int64 }{
		{patternOffset, patternBytes},
		{sizeBytes - tailBytes, tailBytes},
	} {
		if _, err := io.Copy(io.NewOffsetWriter(f, part.offset), io.LimitReader(random, part.length)); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(tickBootSector, 0); err != nil {
		return err
	}
	return f.Sync()
}

// HashUntouched is the SHA-256 of the first sizeBytes of a disk without the
// sector that the tick guest writes, in hexadecimal. The disk may be a file or
// a block device; a qcow2 file must not be in use.
func HashUntouched(ctx context.Context, path, format string, sizeBytes int64) (string, error) {
	if format != "raw" {
		raw, err := temporaryBeside(path)
		if err != nil {
			return "", err
		}
		defer os.Remove(raw)
		if err := qemuImg(ctx, "convert", "-f", format, "-O", "raw", path, raw); err != nil {
			return "", err
		}
		path = raw
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	for _, part := range []struct{ offset, end int64 }{{0, tickOffset}, {tickOffset + sector, sizeBytes}} {
		length := part.end - part.offset
		if n, err := io.Copy(h, io.NewSectionReader(f, part.offset, length)); err != nil || n != length {
			return "", fmt.Errorf("hash %s: %d of %d bytes at %d: %w", path, n, length, part.offset, errors.Join(err, io.ErrUnexpectedEOF))
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// DiskTick reads the count from a disk that no guest uses.
func DiskTick(ctx context.Context, path, format string) (uint32, error) {
	offset := int64(tickOffset)
	if format != "raw" {
		raw, err := temporaryBeside(path)
		if err != nil {
			return 0, err
		}
		defer os.Remove(raw)
		// qemu-img counts the skipped blocks, too.
		if err := qemuImg(ctx, "dd", "-f", format, "-O", "raw", "bs=512", "skip=64", "count=65", "if="+path, "of="+raw); err != nil {
			return 0, err
		}
		path, offset = raw, 0
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var count [4]byte
	if _, err := f.ReadAt(count[:], offset); err != nil {
		return 0, fmt.Errorf("read count from %s: %w", path, err)
	}
	return binary.LittleEndian.Uint32(count[:]), nil
}

func temporaryBeside(path string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tick-*.raw")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

func qemuImg(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "qemu-img", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("qemu-img %v: %w: %s", args, err, out)
	}
	return nil
}
