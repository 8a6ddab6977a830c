package bridge

import (
	"errors"
	"fmt"

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
	if d.Target == noTarget {
		return fmt.Errorf("for %s: %w", pool.Owner{Name: domain}.Text(), err)
	}
	return fmt.Errorf("disk %s of domain %s: %w", d.Target, domain, err)
}

// holds says whether one of the holders is this host, or has its id.
func holds(holders []pool.Holder, host pool.Host) bool {
	for _, h := range holders {
		if h.Host.ID == host.ID {
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
