// Package units reads and writes sizes and durations as people put them into
// commands and configuration files.
package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The binary units, in bytes.
const (
	KiB int64 = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

// unit is one suffix that a size may carry. The binary ones come first, the
// largest first: that is the order in which FormatSize looks for an exact one.
type unit struct {
	suffix string
	bytes  int64
}

var sizeUnits = []unit{
	{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
}

const howToWriteSize = "write a whole number with its unit: 512B, 64KiB, 8MiB, 10GiB, 1TiB, or KB, MB, GB, TB for powers of ten"

// ParseSize reads a size such as "10GiB" and returns bytes. The unit must be
// there and complete: "10G" means three different things to three different
// programs, and a wrong guess is a disk that is too small. One space before
// the unit is accepted; fractions, signs and bare numbers are not.
func ParseSize(text string) (int64, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	number, suffix := text[:digits], strings.TrimPrefix(text[digits:], " ")
	if number == "" {
		return 0, fmt.Errorf("size %q: does not begin with a number; %s", text, howToWriteSize)
	}
	if suffix == "" {
		return 0, fmt.Errorf("size %q: has no unit; for bytes write %sB, otherwise %s", text, number, howToWriteSize)
	}
	scale, err := unitBytes(suffix)
	if err != nil {
		return 0, fmt.Errorf("size %q: %w; %s", text, err, howToWriteSize)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/scale {
		return 0, fmt.Errorf("size %q: larger than any disk (the limit is %d bytes)", text, int64(math.MaxInt64))
	}
	return n * scale, nil
}

func unitBytes(suffix string) (int64, error) {
	for _, u := range sizeUnits {
		if u.suffix == suffix {
			return u.bytes, nil
		}
	}
	return 0, fmt.Errorf("unknown unit %q", suffix)
}

// FormatSize writes bytes exactly, in the largest binary unit that leaves no
// remainder. ParseSize reads it back.
func FormatSize(sizeBytes int64) string {
	for _, u := range sizeUnits {
		if sizeBytes != 0 && sizeBytes%u.bytes == 0 {
			return strconv.FormatInt(sizeBytes/u.bytes, 10) + u.suffix
		}
	}
	return "0B"
}

// RoughSize writes bytes for people, with one decimal: "79.9GiB". It is not
// exact, so it is never the only size in an error about a mismatch.
func RoughSize(sizeBytes int64) string {
	for _, u := range sizeUnits {
		if u.bytes > 1 && sizeBytes >= u.bytes {
			return fmt.Sprintf("%.1f%s", float64(sizeBytes)/float64(u.bytes), u.suffix)
		}
		if u.bytes == 1 {
			break
		}
	}
	return strconv.FormatInt(sizeBytes, 10) + "B"
}

// Size is a number of bytes in a configuration file, written as for ParseSize.
type Size int64

// UnmarshalText reads "8MiB".
func (s *Size) UnmarshalText(text []byte) error {
	n, err := ParseSize(string(text))
	if err != nil {
		return err
	}
	*s = Size(n)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) {
	if s < 0 {
		return nil, fmt.Errorf("size %d: a size is not negative", int64(s))
	}
	return []byte(FormatSize(int64(s))), nil
}

// String is FormatSize.
func (s Size) String() string { return FormatSize(int64(s)) }
