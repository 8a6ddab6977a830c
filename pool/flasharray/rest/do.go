package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

// Request is one call.
type Request struct {
	Method string
	Path   string // "/volumes", without /api/2.x
	Query  url.Values
	Body   any // encoded as JSON; nil: none
	// Idempotent calls may be repeated; GET always is one.
	Idempotent bool
}

const (
	maxAttempts = 4
	firstPause  = 50 * time.Millisecond
	// longestPause: an array that asks for more has no time for a guest that
	// is being started.
	longestPause = 10 * time.Second
)

// Do sends the call and decodes the reply into out, a pointer, unless it is
// nil. After an error out is as it was.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = json.Marshal(r.Body); err != nil {
			return fmt.Errorf("FlashArray %s: %s %s: encode the request: %w", c.base.Host, r.Method, r.Path, err)
		}
	}
	k := call{method: r.Method, path: r.Path, query: r.Query, body: body}
	idempotent := r.Idempotent || r.Method == http.MethodGet
	return c.repeat(ctx, idempotent, func() error { return c.authorised(ctx, k, out) })
}

// authorised sends a call with the session. A 401 did nothing, so after it any
// call is sent again with another token: one that another process got meanwhile,
// or a new one.
func (c *Client) authorised(ctx context.Context, k call, out any) error {
	const tokens = 3 // the one that we had, another's, a new one
	stale := ""
	for n := 1; ; n++ {
		s, fresh, err := c.session(ctx, stale)
		if err != nil {
			return final(err)
		}
		k.api = s.api()
		k.header = map[string]string{"X-Auth-Token": s.Token}
		err = c.once(ctx, k, out)
		newAfterRefusal := fresh && stale != ""
		if !errors.Is(err, ErrUnauthorized) || newAfterRefusal || n == tokens {
			return err
		}
		stale = s.Token
	}
}

func (c *Client) once(ctx context.Context, k call, out any) error {
	a, err := c.send(ctx, k)
	if err != nil {
		return err
	}
	if out == nil {
		if err := skipped(a.body); err != nil {
			return c.nonsense(k, a, err)
		}
		return nil
	}
	if err := decode(a.body, out); err != nil {
		return c.nonsense(k, a, err)
	}
	return nil
}

// final is an error that was repeated already where that made sense.
func final(err error) error {
	var e *Error
	if errors.As(err, &e) {
		once := *e
		once.repeatable = false
		return &once
	}
	return err
}

// repeat runs f until it succeeds, fails for good, or had its attempts. Where an
// attempt may have taken effect, an error of a later one that says nothing of
// the objects is an ErrMaybeDone too.
func (c *Client) repeat(ctx context.Context, idempotent bool, f func() error) error {
	pause, maybe := c.pause, false
	for n := 1; ; n++ {
		err := f()
		var e *Error
		if err == nil || errors.As(err, &e) && e.Status == http.StatusBadRequest {
			return err
		}
		again := idempotent && n < maxAttempts && e != nil && e.repeatable && e.after <= longestPause
		// Many guests start at once: they must not come back at once.
		if !again || !wait(ctx, max(e.after, pause/2+rand.N(pause))) {
			if maybe && !errors.Is(err, ErrMaybeDone) {
				err = fmt.Errorf("%w; before that no reply came: %w", err, ErrMaybeDone)
			}
			return err
		}
		maybe = maybe || errors.Is(err, ErrMaybeDone)
		pause *= 2
	}
}

// wait returns false if ctx ends first, and at once if it would.
func wait(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
