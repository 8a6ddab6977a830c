package linstor

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// request is a call that is let in.
type request struct {
	*http.Request
	body []byte
}

func (q *request) def() string { return q.PathValue("rd") }

// read decodes the body strictly: a key that is not known is a mistake of the
// caller.
func (q *request) read(into any) *failure {
	d := json.NewDecoder(bytes.NewReader(q.body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return failed(codeRequest, "Unable to parse the request: %s", err)
	}
	return nil
}

type handler func(*Controller, *request) answer

func (c *Controller) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range endpoints() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, h) })
	}
	return mux
}

// ServeHTTP answers one call.
func (c *Controller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := c.log.begin(r.Method, r.URL.Path)
	if fault.Then != nil {
		fault.Then()
	}
	if !wait(r, c.o.Latency) || fault.Kind == Slow && !wait(r, fault.Delay) {
		panic(http.ErrAbortHandler) // the caller is gone
	}
	instead, cut := fault.before()
	if cut {
		panic(http.ErrAbortHandler)
	}
	if instead != nil {
		instead.write(w)
		return
	}
	held := &holder{header: http.Header{}}
	c.mux.ServeHTTP(held, r)
	did, cut := fault.after(held.answer())
	if cut {
		panic(http.ErrAbortHandler)
	}
	did.write(w)
}

// wait ends early, and with false, with the call.
func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (c *Controller) serve(w http.ResponseWriter, r *http.Request, h handler) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.passive:
		unavailable().write(w)
		return
	case !c.admits(r):
		failed(codeNoAccess, "Login required.").answer().write(w)
		return
	}
	a := h(c, &request{r, body})
	if c.o.Watch != nil {
		_, pattern, _ := strings.Cut(r.Pattern, " ")
		c.o.Watch(Exchange{r.Method, pattern, r.URL.RawQuery, body, a.status, a.body})
	}
	a.write(w)
}

func (c *Controller) admits(r *http.Request) bool {
	equal := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	if c.o.Token != "" {
		return equal(r.Header.Get("Authorization"), "Bearer "+c.o.Token)
	}
	user, password, _ := r.BasicAuth()
	return c.o.User == "" || equal(user, c.o.User) && equal(password, c.o.Password)
}

// holder keeps an answer until it is known what becomes of it.
type holder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *holder) Header() http.Header { return h.header }

func (h *holder) WriteHeader(status int) { h.status = status }

func (h *holder) Write(p []byte) (int, error) { return h.body.Write(p) }

func (h *holder) answer() answer {
	if h.status == 0 {
		h.status = http.StatusOK
	}
	return answer{h.status, h.header, h.body.Bytes()}
}

func (a answer) write(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	if _, err := w.Write(a.body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		panic(http.ErrAbortHandler) // the caller is gone
	}
}
