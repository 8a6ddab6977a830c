package bridge

import (
	"errors"
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/pool"
)

// What callers tell apart, beside the errors of the packages below.
var (
	// ErrNoPool: the pool is not in the configuration of this host.
	ErrNoPool = errors.New("pool is not configured")
	// ErrLeft: something could not be taken back. It is in the records, and
	// `volbridge recover` tries again.
	ErrLeft = errors.New("not taken back completely")
)

// diskError says of which disk and domain an error speaks. The order of the
// words matters: libvirt cuts long errors at their end.
func diskError(d Disk, domain string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("disk %s of domain %s: %w", d.Target, domain, err)
}

// heldError adds to a refused grant what a person can do about it.
type heldError struct {
	*pool.HeldError
	self pool.Host
}

func (e *heldError) Error() string { return e.HeldError.Error() + ": " + e.remedy() }

// Unwrap lets errors.As find the *pool.HeldError.
func (e *heldError) Unwrap() error { return e.HeldError }

func (e *heldError) remedy() string {
	var others []string
	for _, h := range e.Holders {
		if h.Host == e.self {
			return fmt.Sprintf("stop domain %s here first; if it does not run, run \"volbridge recover\"", h.Owner.Name)
		}
		others = append(others, h.Host.Name)
	}
	where := strings.Join(others, " and ")
	return fmt.Sprintf("stop or migrate the guest that runs on %s first; if none runs there, run \"volbridge recover\" on %s",
		where, where)
}

// holds says whether one of the holders is this host.
func holds(holders []pool.Holder, host pool.Host) bool {
	for _, h := range holders {
		if h.Host == host {
			return true
		}
	}
	return false
}

// left marks an error of taking back.
func left(err error) error {
	if err == nil {
		return nil
	}
	return &leftError{err}
}

type leftError struct{ err error }

func (e *leftError) Error() string {
	return e.err.Error() + " (recorded; \"volbridge recover\" tries again)"
}

func (e *leftError) Unwrap() []error { return []error{e.err, ErrLeft} }
