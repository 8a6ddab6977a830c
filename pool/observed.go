package pool

import (
	"net/http"
	"time"
)

// Call is one request to a pool's management that ended.
type Call struct {
	Status int // of HTTP; 0: no reply came
	Took   time.Duration
}

// Observed is a Backend that says how the calls of its management went. f is
// called at the end of each, from several goroutines, and must be quick. It is
// set once, before the backend is used.
type Observed interface{ Observe(f func(Call)) }

// Result is one of the few words that measurements are told apart by.
func (c Call) Result() string {
	switch {
	case c.Status == 0:
		return "unanswered"
	case c.Status == http.StatusUnauthorized, c.Status == http.StatusForbidden:
		return "denied"
	case c.Status == http.StatusTooManyRequests, c.Status >= 500:
		return "busy"
	case c.Status >= 400:
		return "refused"
	}
	return "ok"
}
