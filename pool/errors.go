package pool

import (
	"errors"
	"fmt"
	"strings"
)

// The answers that callers tell apart; everything else is a failure of which
// nothing is known.
var (
	ErrNotFound    = errors.New("no such volume")
	ErrExists      = errors.New("volume exists already")
	ErrInvalidName = errors.New("not a possible volume name")
	ErrShrink      = errors.New("a volume cannot be made smaller")
	ErrNoSpace     = errors.New("not enough space")
	ErrNotOurs     = errors.New("volume was made by somebody else")
	// ErrNoPool: the place is there, but nobody has made it a pool. It may be
	// a new one, for which Init was not called, or what is seen when a file
	// system is not mounted; so nothing is known of any volume.
	ErrNoPool = errors.New("no pool here yet")
)

// HeldError refuses a grant or a deletion because others hold the volume.
type HeldError struct {
	Pool, Volume string
	Holders      []Holder // the ones in the way, at least one
}

func (e *HeldError) Error() string {
	var who []string
	for _, h := range e.Holders {
		who = append(who, fmt.Sprintf("host %s for domain %s (%s, since %s)",
			h.Host.Name, h.Owner.Name, h.Mode, h.Since.Format("2006-01-02 15:04:05")))
	}
	return fmt.Sprintf("volume %s/%s is held by %s; stop or migrate the domain there, "+
		"or run `volbridge recover` on that host if it no longer runs", e.Pool, e.Volume, strings.Join(who, " and "))
}
