package flasharray

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var versioned = regexp.MustCompile(`^/api/2\.([0-9]{1,3})(/.*)$`)

// answer is what a call returns.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ServeHTTP answers one call.
func (a *Array) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.date(w)
	path := r.URL.Path
	if m := versioned.FindStringSubmatch(path); m != nil {
		path = m[2]
	}
	fault := a.log.begin(r.Method, path, r.URL.RawQuery)
	if wait(r, a.o.Latency) != nil || fault.Kind == Slow && wait(r, fault.Delay) != nil {
		panic(http.ErrAbortHandler) // the caller is gone
	}
	if fault.Kind == LostLate {
		a.keep(r, path)
	}
	if instead, cut := fault.before(); cut {
		panic(http.ErrAbortHandler)
	} else if instead != nil {
		instead.write(w)
		return
	}
	did := a.handle(r, path)
	instead, cut := fault.after(did)
	if cut {
		panic(http.ErrAbortHandler)
	}
	instead.write(w)
}

// date is what a clock that is wrong says; of one that is right the server does.
func (a *Array) date(w http.ResponseWriter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.skew != 0 {
		w.Header().Set("Date", time.Now().Add(a.skew).UTC().Format(http.TimeFormat))
	}
}

// wait ends early with the call.
func wait(r *http.Request, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func (a *Array) handle(r *http.Request, path string) answer {
	q, bad := newRequest(r)
	if bad != nil {
		return bad.answer()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "GET /api/api_version":
		return ok(object{"version": a.versions()})
	case "POST /api/1.19/auth/apitoken":
		return a.apiToken(q)
	}
	m := versioned.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return missing(r)
	}
	minor, err := strconv.Atoi(m[1])
	if err != nil || minor > a.minor {
		return missing(r)
	}
	switch r.Method + " " + path {
	case "POST /login":
		return a.logIn(q)
	case "POST /logout":
		return a.logOut(q)
	}
	if !a.known(q) {
		return (&failure{http.StatusUnauthorized, "", invalidSession}).answer()
	}
	return a.call(r, q, path, minor)
}

func (a *Array) call(r *http.Request, q *request, path string, minor int) answer {
	e, there := endpoints()[r.Method+" "+path]
	if !there || minor < e.since {
		return missing(r)
	}
	if bad := q.allows(e, minor); bad != nil {
		return bad.answer()
	}
	if r.Method != http.MethodGet && a.o.Role == readOnly {
		return (&failure{http.StatusForbidden, "", "Operation not permitted."}).answer()
	}
	result, bad := e.do(a, q)
	if bad != nil {
		return bad.answer()
	}
	if result == nil {
		return answer{status: http.StatusOK}
	}
	return ok(result)
}

// versions are those that the array lists, oldest first.
func (a *Array) versions() []string {
	list := []string{"1.17", "1.18", "1.19"}
	for i := range a.minor + 1 {
		list = append(list, fmt.Sprintf("2.%d", i))
	}
	return list
}

func ok(body any) answer { return jsonAnswer(http.StatusOK, body) }

func jsonAnswer(status int, body any) answer {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // only our own maps come here
	}
	return answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: text}
}

func missing(r *http.Request) answer {
	return (&failure{http.StatusNotFound, "", "Not found: " + r.Method + " " + strings.ToValidUTF8(r.URL.Path, "?")}).answer()
}

func (f *failure) answer() answer {
	e := object{"message": f.message}
	if f.context != "" {
		e["context"] = f.context
	}
	return jsonAnswer(f.status, object{"errors": []object{e}})
}

func (n answer) write(w http.ResponseWriter) {
	for k, v := range n.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(n.body)))
	w.WriteHeader(n.status)
	if _, err := w.Write(n.body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		panic(http.ErrAbortHandler) // the caller is gone
	}
}
