package flasharray

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// FaultKind is a way to misbehave.
type FaultKind string

// What can go wrong with a call. Those marked "done" take effect on the array
// although the caller cannot know it.
const (
	Slow          FaultKind = "slow"           // done, after Delay
	LostBefore    FaultKind = "lost-before"    // the connection is cut, not done
	LostAfter     FaultKind = "lost-after"     // done, then the connection is cut
	LostLate      FaultKind = "lost-late"      // the connection is cut; done when CarryOutLate says so
	Unauthorized  FaultKind = "401"            // the session has ended
	TooMany       FaultKind = "429"            // with Retry-After
	ServerError   FaultKind = "500"            // not done
	ErrorAfter    FaultKind = "500-after"      // done
	Unavailable   FaultKind = "503"            // with Retry-After
	Nonsense      FaultKind = "nonsense"       // not done; an HTML page with status 200
	NonsenseAfter FaultKind = "nonsense-after" // done; the same
	Truncated     FaultKind = "truncated"      // done; half of the JSON text
	WrongTypes    FaultKind = "wrong-types"    // done; numbers where text belongs and the other way round
	EmptyBody     FaultKind = "empty-body"     // done; status 200 and nothing
)

// FaultKinds are all of them, for loops over every fault; but not LostLate, which
// is LostBefore for a test that never calls CarryOutLate.
func FaultKinds() []FaultKind {
	return []FaultKind{Slow, LostBefore, LostAfter, Unauthorized, TooMany, ServerError, ErrorAfter, Unavailable,
		Nonsense, NonsenseAfter, Truncated, WrongTypes, EmptyBody}
}

// Fault is what goes wrong with one call.
type Fault struct {
	Kind FaultKind
	// Method and Path say which calls are counted, "" all; Path is without
	// /api/2.x: "/volumes", "/login", "/api/api_version".
	Method, Path string
	Delay        time.Duration // of Slow
	RetryAfter   time.Duration // of TooMany and Unavailable, in whole seconds
}

// FailAt makes the n-th matching call from now misbehave, n from 1.
func (a *Array) FailAt(n int, f Fault) { a.log.plan(n, f, false) }

// FailFrom makes every matching call misbehave, from the n-th from now until
// ClearFaults: an array whose management is down.
func (a *Array) FailFrom(n int, f Fault) { a.log.plan(n, f, true) }

// ClearFaults forgets what FailAt and FailFrom have planned.
func (a *Array) ClearFaults() { a.log.clearPlans() }

// CarryOutLate does what LostLate has kept, in the order in which it came, and
// says how many calls that were: an array that had accepted them when their caller
// gave them up. Nobody gets their answers.
func (a *Array) CarryOutLate() int {
	a.mu.Lock()
	late := a.late
	a.late = nil
	a.mu.Unlock()
	for _, c := range late {
		a.handle(c.request, c.path)
	}
	return len(late)
}

// lateCall is a call that outlives its connection.
type lateCall struct {
	request *http.Request
	path    string
}

// keep reads the call to its end: nothing can be read of it once it was cut.
func (a *Array) keep(r *http.Request, path string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit))
	if err != nil {
		return // it never came whole
	}
	kept := r.Clone(context.WithoutCancel(r.Context()))
	kept.Body = io.NopCloser(bytes.NewReader(body))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late = append(a.late, lateCall{kept, path})
}

// before is the answer that replaces the call, or says that there is none and
// the connection is cut.
func (f Fault) before() (instead *answer, cut bool) {
	switch f.Kind {
	case LostBefore, LostLate:
		return nil, true
	case Unauthorized:
		return f.error(http.StatusUnauthorized, invalidSession), false
	case TooMany:
		return f.error(http.StatusTooManyRequests, "Too many requests."), false
	case Unavailable:
		return f.error(http.StatusServiceUnavailable, "Service unavailable."), false
	case ServerError:
		return f.error(http.StatusInternalServerError, "Internal error."), false
	case Nonsense:
		n := nonsense()
		return &n, false
	}
	return nil, false
}

// after is what the caller gets of a call that was done.
func (f Fault) after(did answer) (instead answer, cut bool) {
	switch f.Kind {
	case LostAfter:
		return did, true
	case ErrorAfter:
		return *f.error(http.StatusInternalServerError, "Internal error."), false
	case NonsenseAfter:
		return nonsense(), false
	case Truncated:
		did.body = did.body[:len(did.body)/2]
	case EmptyBody:
		did.body = nil
	case WrongTypes:
		did.body = confuse(did.body)
	}
	return did, false
}

func (f Fault) error(status int, message string) *answer {
	n := (&failure{status: status, message: message}).answer()
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		n.header.Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	return &n
}

func nonsense() answer {
	return answer{status: http.StatusOK, header: http.Header{"Content-Type": {"text/html"}},
		body: []byte("<html><body><h1>It works!</h1></body></html>\n")}
}

// confuse keeps the shape of a JSON text and turns its values into others.
func confuse(text []byte) []byte {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return text
	}
	confused, err := json.Marshal(confused(v))
	if err != nil {
		panic(err) // it was JSON before
	}
	return confused
}

func confused(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = confused(v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = confused(v[i])
		}
		return v
	case string:
		return 7
	case nil:
		return nil
	default:
		return fmt.Sprint(v)
	}
}
