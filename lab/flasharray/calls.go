package flasharray

import (
	"net/url"
	"slices"
	"sync"
)

// Call is one call that was received. It has no header and no body, in which
// secrets travel.
type Call struct {
	Method string
	Path   string // without /api/2.x
	Query  string // decoded
	Fault  FaultKind
}

func (c Call) String() string {
	text := c.Method + " " + c.Path
	if c.Query != "" {
		text += "?" + c.Query
	}
	if c.Fault != "" {
		text += " [" + string(c.Fault) + "]"
	}
	return text
}

type plan struct {
	left  int // matching calls until it happens
	fault Fault
	stays bool
}

// callLog counts calls and decides which of them fail.
type callLog struct {
	mu    sync.Mutex
	calls []Call
	plans []*plan
}

// begin records a call and returns what shall go wrong with it.
func (l *callLog) begin(method, path, rawQuery string) Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	query, err := url.QueryUnescape(rawQuery)
	if err != nil {
		query = rawQuery
	}
	var fault Fault
	for _, p := range slices.Clone(l.plans) {
		if !p.fault.concerns(method, path) {
			continue
		}
		if p.left--; p.left > 0 {
			continue
		}
		if fault.Kind == "" {
			fault = p.fault
		}
		if !p.stays {
			l.plans = slices.DeleteFunc(l.plans, func(q *plan) bool { return q == p })
		}
	}
	l.calls = append(l.calls, Call{Method: method, Path: path, Query: query, Fault: fault.Kind})
	return fault
}

func (f Fault) concerns(method, path string) bool {
	return (f.Method == "" || f.Method == method) && (f.Path == "" || f.Path == path)
}

func (l *callLog) plan(n int, f Fault, stays bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plans = append(l.plans, &plan{left: n, fault: f, stays: stays})
}

func (l *callLog) clearPlans() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plans = nil
}

// Calls returns the calls since the array was made or ForgetCalls was called,
// in the order of their arrival.
func (a *Array) Calls() []Call {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	return slices.Clone(a.log.calls)
}

// ForgetCalls empties the list of calls.
func (a *Array) ForgetCalls() {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	a.log.calls = nil
}

// CountCalls counts the calls with this method and path, "" for any.
func (a *Array) CountCalls(method, path string) (n int) {
	for _, c := range a.Calls() {
		if (Fault{Method: method, Path: path}).concerns(c.Method, c.Path) {
			n++
		}
	}
	return n
}

// Logins counts the log-ins that were tried.
func (a *Array) Logins() int { return a.CountCalls("POST", "/login") }
