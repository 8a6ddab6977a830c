package linstor

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// FaultKind is a way to misbehave.
type FaultKind string

// What can go wrong with a call. Those marked "done" take effect although the
// caller cannot know it.
const (
	Slow          FaultKind = "slow"           // done, after Delay
	LostBefore    FaultKind = "lost-before"    // the connection is cut, not done
	LostAfter     FaultKind = "lost-after"     // done, then the connection is cut
	Unauthorized  FaultKind = "401"            // the login is not taken
	ServerError   FaultKind = "500"            // not done, with an error report
	ErrorAfter    FaultKind = "500-after"      // done
	Unavailable   FaultKind = "503"            // not done
	PlainMissing  FaultKind = "404-plain"      // not done; a page of some proxy
	Nonsense      FaultKind = "nonsense"       // not done; an HTML page with status 200
	NonsenseAfter FaultKind = "nonsense-after" // done; the same
	Truncated     FaultKind = "truncated"      // done; half of the JSON text
	Null          FaultKind = "null"           // done; the JSON text null
	EmptyBody     FaultKind = "empty-body"     // done; status 200 and nothing
)

// FaultKinds are all of them, for loops over every fault.
func FaultKinds() []FaultKind {
	return []FaultKind{Slow, LostBefore, LostAfter, Unauthorized, ServerError, ErrorAfter, Unavailable, PlainMissing,
		Nonsense, NonsenseAfter, Truncated, Null, EmptyBody}
}

// Fault is what goes wrong with one call.
type Fault struct {
	Kind  FaultKind
	Delay time.Duration // of Slow
	// Then is called when the fault strikes, before anything else.
	Then func()
}

// before is the answer that replaces the call, or says that there is none and
// the connection is cut.
func (f Fault) before() (instead *answer, cut bool) {
	switch f.Kind {
	case LostBefore:
		return nil, true
	case Unauthorized:
		return ptr(failed(codeNoAccess, "Login required.").answer()), false
	case ServerError:
		return ptr(failed(codeUnknown, "An unknown exception occurred.").answer()), false
	case Unavailable:
		return ptr(unavailable()), false
	case PlainMissing:
		return &answer{status: http.StatusNotFound, header: html(), body: []byte("<html>404 page not found</html>\n")}, false
	case Nonsense:
		return ptr(nonsense()), false
	}
	return nil, false
}

// after is what the caller gets of a call that was done.
func (f Fault) after(did answer) (instead answer, cut bool) {
	switch f.Kind {
	case LostAfter:
		return did, true
	case ErrorAfter:
		return failed(codeUnknown, "An unknown exception occurred.").answer(), false
	case NonsenseAfter:
		return nonsense(), false
	case Truncated:
		did.body = did.body[:len(did.body)/2]
	case Null:
		did.body = []byte("null")
	case EmptyBody:
		did.body = nil
	}
	return did, false
}

func ptr(a answer) *answer { return &a }

func html() http.Header { return http.Header{"Content-Type": {"text/html"}} }

func nonsense() answer {
	return answer{status: http.StatusOK, header: html(), body: []byte("<html><body><h1>It works!</h1></body></html>\n")}
}

func unavailable() answer {
	return answer{status: http.StatusServiceUnavailable, header: html(), body: []byte("Service Unavailable\n")}
}

// Call is one call that was received. It has no header and no body, in which
// secrets travel.
type Call struct {
	Method, Path string
	Fault        FaultKind
}

func (c Call) String() string {
	if c.Fault == "" {
		return c.Method + " " + c.Path
	}
	return fmt.Sprintf("%s %s [%s]", c.Method, c.Path, c.Fault)
}

// callLog counts calls and decides which of them fail.
type callLog struct {
	mu    sync.Mutex
	calls []Call
	left  int // calls until the fault
	stays bool
	fault Fault
}

// FailAt makes the n-th call from now misbehave, n from 1.
func (c *Controller) FailAt(n int, f Fault) { c.log.plan(n, f, false) }

// FailFrom makes every call misbehave, from the n-th from now until
// ClearFaults.
func (c *Controller) FailFrom(n int, f Fault) { c.log.plan(n, f, true) }

// ClearFaults forgets what FailAt and FailFrom have planned.
func (c *Controller) ClearFaults() { c.log.plan(0, Fault{}, false) }

// Calls returns the calls since ForgetCalls, in the order of their arrival.
func (c *Controller) Calls() []Call {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	return slices.Clone(c.log.calls)
}

// ForgetCalls empties the list of calls.
func (c *Controller) ForgetCalls() {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.log.calls = nil
}

func (l *callLog) plan(n int, f Fault, stays bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left, l.fault, l.stays = n, f, stays
}

// begin records a call and returns what shall go wrong with it.
func (l *callLog) begin(method, path string) Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	var f Fault
	switch {
	case l.left > 1:
		l.left--
	case l.left == 1:
		f = l.fault
		if !l.stays {
			l.left = 0
		}
	}
	l.calls = append(l.calls, Call{Method: method, Path: path, Fault: f.Kind})
	return f
}
