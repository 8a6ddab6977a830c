// Package hooks is libvirt's qemu hook protocol: it turns a call of the hook
// into an event, the event into work of package bridge, and the result into
// what libvirt reads: an exit code, the first line of stderr, and, at `migrate`
// and `restore` alone, a document on stdout.
//
// The hook never calls libvirt: while all but one of its operations run,
// libvirt holds the lock of the domain, and both would wait for each other.
package hooks

import (
	"errors"
	"fmt"
	"io"

	"github.com/volbridge/volbridge/domainxml"
)

// ErrUsage: the arguments are not those of libvirt.
var ErrUsage = errors.New("libvirt calls this program, with DOMAIN OPERATION SUB-OPERATION EXTRA and the domain's XML on stdin")

// Event is one call of the hook.
type Event struct {
	Domain string // name
	Op     string // prepare, migrate, release, …
	SubOp  string // begin, end
	Extra  string // the reason of a release, else "-"

	stdin io.Reader
}

// ParseEvent takes a call apart; args are without the program's name. Nothing
// is read from stdin before XML is called.
func ParseEvent(args []string, stdin io.Reader) (Event, error) {
	if len(args) < 3 || args[0] == "" {
		return Event{}, ErrUsage
	}
	e := Event{Domain: args[0], Op: args[1], SubOp: args[2], Extra: "-", stdin: stdin}
	if len(args) > 3 {
		e.Extra = args[3]
	}
	return e, nil
}

// XML reads the domain's document; it may be called once. With an error it
// returns what was read.
func (e Event) XML() ([]byte, error) {
	xml, err := io.ReadAll(io.LimitReader(e.stdin, domainxml.MaxBytes+1))
	if err != nil {
		return xml, fmt.Errorf("read the XML from stdin: %w", err)
	}
	if len(xml) > domainxml.MaxBytes {
		return xml, fmt.Errorf("read the XML from stdin: %w: at most %d bytes are read", domainxml.ErrTooLarge, domainxml.MaxBytes)
	}
	return xml, nil
}
