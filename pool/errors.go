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
	// ErrUnreachable: the management of the storage did not answer, so that
	// nothing is known; the data may be within reach nevertheless. The error
	// carries what was heard, if anything.
	ErrUnreachable = errors.New("the storage's management does not answer")
	// ErrMaybeDone is an ErrUnreachable after which a change may have taken
	// effect, now or later, because it had been sent.
	ErrMaybeDone = fmt.Errorf("the call may have taken effect: %w", ErrUnreachable)
)

// Changed returns an error that came after a change: that the storage fell silent
// does not mean any more that everything is as it was.
func Changed(err error) error {
	if errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrMaybeDone) {
		return fmt.Errorf("%w: %w", ErrMaybeDone, err)
	}
	return err
}

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
		since := "" // not every storage knows it
		if !h.Since.IsZero() {
			since = ", since " + h.Since.Format("2006-01-02 15:04:05")
		}
		who = append(who, fmt.Sprintf("host %s%s for %s (%s%s)", h.Host.Name, e.doubt(h), h.Owner.Text(), h.Mode, since))
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
			return fmt.Sprintf("stop %s here first; if it does not run, run `volbridge recover`", h.Owner.Text())
		case e.doubt(h) == "":
			return "stop or migrate the domain there; if it does not run, run `volbridge recover` there; " +
				fmt.Sprintf("if that host is dead, see `volbridge volume revoke %s/%s --help`", e.Pool, e.Volume)
		}
	}
	return ""
}
