package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/LINBIT/golinstor/client"
)

// way carries calls to the controller that answers.
type way struct {
	controllers []*url.URL
	credentials func() (Credentials, error)
	transport   http.RoundTripper
	answers     atomic.Int32 // index of the one that answered last
	observe     func(status int, took time.Duration)
}

// exchange is one call, from its beginning to what is known of its end.
type exchange struct {
	changes      bool
	sent         bool
	controller   string
	method, path string
	failed       error
}

type exchangeKey struct{}

func (w *way) first() int { return int(w.answers.Load()) }

func (w *way) address(i int) string { return w.controllers[i].Scheme + "://" + w.controllers[i].Host }

// RoundTrip implements http.RoundTripper. Whatever it returns without an error
// is a success that the controller itself has spoken of.
func (w *way) RoundTrip(r *http.Request) (*http.Response, error) {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("a call that does not say whether it changes something")
	}
	if r.Body != nil {
		r.Body.Close() // each attempt has a copy of its own
	}
	x.controller, x.method, x.path = w.address(w.first()), r.Method, r.URL.Path
	var login Credentials
	if w.credentials != nil {
		var err error
		if login, err = w.credentials(); err != nil {
			x.failed = x.silent(err)
			return nil, x.failed
		}
	}
	var all []error
	for n := range w.controllers {
		i := (w.first() + n) % len(w.controllers)
		body, err := w.attempt(x, r, i, login)
		if err == nil {
			w.answers.Store(int32(i))
			return reply(r, body), nil
		}
		all = append(all, err)
		var e *Error
		if r.Context().Err() != nil || !errors.As(err, &e) || !e.elsewhere(x) {
			break
		}
	}
	x.failed = several(all)
	return nil, x.failed
}

// several keeps the kind of one error; if no controller answered, each is named.
func several(all []error) error {
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

func reply(r *http.Request, body []byte) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}
}

// attempt asks one controller and returns what it said if that is a success.
func (w *way) attempt(x *exchange, r *http.Request, i int, login Credentials) ([]byte, error) {
	x.controller, x.sent = w.address(i), false
	trace := &httptrace.ClientTrace{WroteHeaders: func() { x.sent = true }}
	out := r.Clone(httptrace.WithClientTrace(r.Context(), trace))
	out.URL.Scheme, out.URL.Host, out.Host = w.controllers[i].Scheme, w.controllers[i].Host, ""
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	switch {
	case !login.Token.Empty():
		out.Header.Set("Authorization", "Bearer "+login.Token.Reveal())
	case login.User != "":
		out.SetBasicAuth(login.User, login.Password.Reveal())
	}
	began, status := time.Now(), 0
	if w.observe != nil {
		defer func() { w.observe(status, time.Since(began)) }()
	}
	resp, err := w.transport.RoundTrip(out)
	if err != nil {
		return nil, x.silent(err)
	}
	defer resp.Body.Close()
	status = resp.StatusCode
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, x.silent(fmt.Errorf("the reply broke off: %w", err))
	case len(body) > maxReply:
		return nil, x.unreadable(fmt.Errorf("the reply is longer than %d bytes", maxReply))
	}
	return body, x.judge(resp.StatusCode, body, login)
}

// maxReply is more than the description of 100,000 volumes.
const maxReply = 256 << 20

// judge says whether a reply is a success of the controller.
func (x *exchange) judge(status int, body []byte, login Credentials) error {
	var rcs []client.ApiCallRc
	list := false
	if x.changes || status >= 300 {
		rcs, list = results(body)
	}
	switch {
	case status < 200 || status >= 300:
		return x.refused(status, rcs, body, login)
	case !x.changes && (!json.Valid(body) || string(bytes.TrimSpace(body)) == "null"):
		return x.unreadable(errors.New("the reply is not JSON, or says nothing: " + excerpt(body, login)))
	case x.changes && !list:
		return x.unreadable(errors.New("the reply is not that of a LINSTOR controller: " + excerpt(body, login)))
	case x.changes && codeOf(rcs) != 0:
		return x.refused(status, rcs, body, login)
	}
	return nil
}

// results are a controller's words for a change; list is false for anything
// else.
func results(body []byte) (rcs []client.ApiCallRc, list bool) {
	if json.Unmarshal(body, &rcs) != nil || len(rcs) == 0 {
		return nil, false
	}
	return rcs, true
}
