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
	// ErrOtherBoot: a host with the right id holds the volume from another
	// boot than those asked for, so it may be a clone. It still holds it.
	ErrOtherBoot = errors.New("held from another boot of a host with this id")
	// ErrNoPool: the place is there, but nobody has made it a pool. It may be
	// a new one, for which Init was not called, or what is seen when a file
	// system is not mounted; so nothing is known of any volume.
	ErrNoPool = errors.New("no pool here yet")
)

// HeldError refuses a grant or a deletion because others hold the volume. Its
// text stays short: libvirt cuts what a hook says after about 1 KiB.
type HeldError struct {
	Pool, Volume string
	Holders      []Holder // the ones in the way, at least one
	// Request is the one that is refused; nil for a deletion.
	Request *GrantRequest
}

func (e *HeldError) Error() string {
	var who []string
	for _, h := range e.Holders {
		who = append(who, fmt.Sprintf("host %s%s for domain %s (%s, since %s)",
			h.Host.Name, e.doubt(h), h.Owner.Name, h.Mode, h.Since.Format("2006-01-02 15:04:05")))
	}
	text := fmt.Sprintf("volume %s/%s is held by %s", e.Pool, e.Volume, strings.Join(who, " and "))
	if remedy := e.remedy(); remedy != "" {
		text += "; " + remedy
	}
	return text
}

// doubt is said of a holder that may be this host before its last boot, or a
// clone of it.
func (e *HeldError) doubt(h Holder) string {
	if e.Request == nil || !e.Request.otherBoot(h) {
		return ""
	}
	return " (which has the same id as this host, but another boot: is one a clone of the other? " +
		"if it is this host before its last boot, run `volbridge recover`)"
}

// remedy is what to do about the holders; what doubt says is enough for those
// of which it speaks.
func (e *HeldError) remedy() string {
	for _, h := range e.Holders {
		switch {
		case e.Request != nil && e.Request.same(h):
			return fmt.Sprintf("stop domain %s here first; if it does not run, run `volbridge recover`", h.Owner.Name)
		case e.doubt(h) == "":
			return "stop or migrate the domain there; if it does not run, run `volbridge recover` there; " +
				fmt.Sprintf("if that host is dead, see `volbridge volume revoke %s/%s --help`", e.Pool, e.Volume)
		}
	}
	return ""
}
