// Package spool is where volbridge's short-lived processes leave what they
// measured, for `volbridge metrics` to add up: a line of text for each sample,
// appended by one write. It costs the hook no wait for the disk, no database and
// no library.
package spool

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what was measured.
type Kind string

const (
	// Call is a call of a pool's management; Of is the pool.
	Call Kind = "call"
	// Device is from the grant of a volume until its device is there, verified; Of
	// is the protocol.
	Device Kind = "device"
	// Migration is one run of `volbridge migrate`; Of is nothing.
	Migration Kind = "migration"
)

// Results of the kinds. There are no others, so that nobody can make more time
// series than these.
var Results = map[Kind][]string{
	Call:      {"ok", "refused", "denied", "busy", "unanswered"},
	Device:    {"ok", "failed"},
	Migration: {"done", "undone", "left", "refused"},
}

// Sample is one thing that was measured.
type Sample struct {
	Kind   Kind
	Of     string // the pool, or the protocol; "" for none
	Result string
	Took   time.Duration
}

// none stands for no Of.
const none = "-"

// version begins each line. One of another version is not understood.
const version = "1"

// Line is the sample as it stands in the file.
func (s Sample) Line() string {
	of := s.Of
	if of == "" {
		of = none
	}
	return fmt.Sprintf("%s %s %s %s %d\n", version, s.Kind, of, s.Result, s.Took.Microseconds())
}

var errLine = errors.New("is no sample")

// longest is more than anything takes.
const longest = 366 * 24 * time.Hour

// Parse reads what Line wrote, without the end of the line. Nothing of it is
// trusted.
func Parse(line string) (Sample, error) {
	f := strings.Split(line, " ")
	if len(f) != 5 || f[0] != version {
		return Sample{}, errLine
	}
	s := Sample{Kind: Kind(f[1]), Of: f[2], Result: f[3]}
	if s.Of == none {
		s.Of = ""
	}
	micros, err := strconv.ParseUint(f[4], 10, 63)
	s.Took = time.Duration(micros) * time.Microsecond
	if err != nil || micros > uint64(longest.Microseconds()) || !slices.Contains(Results[s.Kind], s.Result) || !isName(s.Of) {
		return Sample{}, errLine
	}
	return s, nil
}

// isName takes what pools and protocols are called.
func isName(text string) bool {
	return len(text) <= 40 && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == ""
}
