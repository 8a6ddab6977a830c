package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// maxReplyBytes is far more than a page of volumes has (about 2 KiB each).
const maxReplyBytes = 16 << 20

// call is one HTTP request as it is sent.
type call struct {
	method string
	api    string // "/api/2.26", or "" where path is the whole path
	path   string
	query  url.Values
	header map[string]string
	body   []byte
	login  bool // it makes a session, and nothing that anybody has to look for
}

// changes says whether the array may have something else afterwards.
func (k call) changes() bool { return k.method != http.MethodGet && !k.login }

// answer is a reply, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send does one call, within CallTimeout. Whatever is no success is an *Error.
func (c *Client) send(ctx context.Context, k call) (answer, error) {
	started := time.Now()
	a, err := c.exchange(ctx, k)
	if c.observe != nil {
		c.observe(a.status, time.Since(started))
	}
	c.log.WithFields(map[string]any{
		"call": k.method + " " + k.api + k.path, "status": a.status, "took": time.Since(started).Round(time.Millisecond),
	}).Debug("asked the array")
	return a, err
}

func (c *Client) exchange(ctx context.Context, k call) (answer, error) {
	limited, cancel := context.WithTimeout(ctx, c.options.CallTimeout)
	defer cancel()
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(limited, &httptrace.ClientTrace{
		// From here on a part of the request may have arrived.
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	r, err := c.request(traced, k)
	if err != nil {
		return answer{}, c.fail(k, err)
	}
	reply, err := c.http.Do(r)
	if err != nil {
		return answer{}, c.unanswered(ctx, k, sent.Load(), err)
	}
	defer reply.Body.Close()
	a := answer{status: reply.StatusCode, header: reply.Header}
	a.body, err = io.ReadAll(io.LimitReader(reply.Body, maxReplyBytes+1))
	switch {
	case err != nil:
		return a, c.unanswered(ctx, k, true, fmt.Errorf("the reply was cut off: %w", err))
	case len(a.body) > maxReplyBytes:
		return a, c.nonsense(k, a, errors.New("the reply is longer than 16 MiB"))
	case a.status < 200 || a.status > 299:
		return a, c.refused(k, a)
	}
	return a, nil
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	u := c.base
	u.Path = k.api + k.path
	// The query of a FlashArray is not a form: a space is %20 there.
	u.RawQuery = strings.ReplaceAll(k.query.Encode(), "+", "%20")
	r, err := http.NewRequestWithContext(ctx, k.method, u.String(), bytes.NewReader(k.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.options.UserAgent)
	if len(k.body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range k.header {
		r.Header.Set(name, value)
	}
	return r, nil
}

func (c *Client) newError(k call) *Error {
	return &Error{Array: c.base.Host, Method: k.method, Path: k.path}
}

// fail is an error of our own making: nothing was sent.
func (c *Client) fail(k call, err error) *Error {
	e := c.newError(k)
	e.cause = err
	return e
}

// refused is a reply with a status that is no success.
func (c *Client) refused(k call, a answer) *Error {
	e := c.newError(k)
	e.Messages = c.words(a.body)
	e.classify(a, k.changes())
	if len(e.Messages) == 0 && len(a.body) > 0 {
		e.cause = fmt.Errorf("the reply begins with %s", c.beginning(a.body))
	}
	return e
}

// nonsense is a reply that no FlashArray gives. Who gave it cannot be known, so
// the array is one that did not answer.
func (c *Client) nonsense(k call, a answer, why error) *Error {
	e := c.newError(k)
	e.Status, e.kind, e.repeatable = a.status, lost(k.changes()), true
	e.cause = fmt.Errorf("the reply is not understood: %s", c.safe(why.Error()))
	if text := c.beginning(a.body); text != "" {
		e.cause = fmt.Errorf("%w (it begins with %s)", e.cause, text)
	}
	e.hint = "is this the management address of a FlashArray?"
	return e
}

// unanswered is a call without a whole reply. ctx is the caller's.
func (c *Client) unanswered(ctx context.Context, k call, sent bool, err error) *Error {
	e := c.newError(k)
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the URL, which is said already
	}
	e.kind = lost(sent && k.changes())
	e.hint, e.cause = c.explained(err)
	timedOut := errors.Is(err, context.DeadlineExceeded) || isTimeout(err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.cause = foreign{"interrupted", context.Cause(ctx)}
		if !errors.Is(e.kind, ErrMaybeDone) {
			e.kind = nil // we gave up, not the array
		}
	case ctx.Err() != nil:
		e.cause = foreign{"no reply before the time of the whole operation was over", context.Cause(ctx)}
	case timedOut:
		e.cause = foreign{fmt.Sprintf("no reply in time (call_timeout is %s): %v", c.options.CallTimeout, e.cause), err}
	default:
		e.repeatable = !isCertificate(err)
	}
	return e
}
