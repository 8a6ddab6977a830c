package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// faults are what an array may do instead of answering a call. done says that
// the call took effect nevertheless.
var faults = map[string]struct {
	serve      func(w http.ResponseWriter)
	done       bool
	repeatable bool // after it an idempotent call succeeds
}{
	"lost before":   {cut, false, true},
	"lost after":    {cut, true, true},
	"401":           {func(w http.ResponseWriter) { refuse(w, 401, "", "expired") }, false, true},
	"429":           {func(w http.ResponseWriter) { refuse(w, 429, "", "slow down") }, false, true},
	"500":           {func(w http.ResponseWriter) { refuse(w, 500, "", "oops") }, true, true},
	"503":           {func(w http.ResponseWriter) { w.WriteHeader(503) }, false, true},
	"nonsense":      {func(w http.ResponseWriter) { io.WriteString(w, "<html>") }, true, true},
	"half a reply":  {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "99"); io.WriteString(w, "{") }, true, true},
	"400 unrelated": {func(w http.ResponseWriter) { refuse(w, 400, "", "Invalid.") }, false, false},
}

// TestFaultAtEachCall: whatever happens to the n-th call of an operation, the
// operation succeeds, or its error tells truly whether it may have been done;
// and a call that is not idempotent never takes effect twice.
func TestFaultAtEachCall(t *testing.T) {
	for name, fault := range faults {
		for _, idempotent := range []bool{true, false} {
			for n := 1; n <= 3; n++ {
				t.Run(fmt.Sprintf("%s, idempotent %v, call %d", name, idempotent, n), func(t *testing.T) {
					t.Parallel()
					a := newArray(t)
					effects := 0
					a.respond = func(w http.ResponseWriter, r *http.Request) {
						a.set(func() { effects++ })
						io.WriteString(w, `{"items":[{"name":"v"}]}`)
					}
					a.interfere = func(i int, w http.ResponseWriter, r *http.Request) bool {
						if i == n && fault.done && strings.HasSuffix(r.URL.Path, "/volumes") {
							a.set(func() { effects++ })
						}
						if i == n {
							fault.serve(w)
						}
						return i == n
					}
					r := post("/volumes")
					r.Idempotent = idempotent
					v, err := One[struct{ Name string }](t.Context(), a.client(), r)
					ready := n < 3 // the calls before, of which all are idempotent
					wantOK := fault.repeatable && (ready || idempotent)
					if name == "401" {
						wantOK = !ready // it is the login that is refused
					}
					if (err == nil) != wantOK || err == nil && v.Name != "v" {
						t.Fatalf("%+v, %v; want success %v", v, err, wantOK)
					}
					if err == nil && effects == 0 || effects > 1 && !idempotent {
						t.Errorf("it took effect %d times: %v", effects, err)
					}
					if err != nil && effects > 0 && !errors.Is(err, ErrMaybeDone) {
						t.Errorf("it took effect, and the error does not say that it may have: %v", err)
					}
					if err != nil && ready && errors.Is(err, ErrMaybeDone) {
						t.Errorf("nothing was sent but the login: %v", err)
					}
				})
			}
		}
	}
}

// A fault that stays ends the operation after a bounded number of calls.
func TestLastingFaults(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArray(t)
			c := a.client()
			_, err := c.Version(t.Context())
			must(t, err)
			before := len(a.seen())
			a.set(func() {
				a.interfere = func(_ int, w http.ResponseWriter, r *http.Request) bool {
					if strings.HasSuffix(r.URL.Path, "/volumes") {
						fault.serve(w)
					}
					return strings.HasSuffix(r.URL.Path, "/volumes")
				}
			})
			err = ask(t.Context(), c)
			calls := a.seen()[before:]
			asked := 0
			for _, call := range calls {
				if strings.HasSuffix(call, "/volumes") {
					asked++
				}
			}
			want, kind := maxAttempts, "unreachable"
			switch name {
			case "401":
				want, kind = 2, "unauthorized"
			case "400 unrelated":
				want, kind = 1, ""
			}
			if strings.HasPrefix(name, "lost") && asked == want+1 {
				asked = want // net/http itself sends a GET again when an idle connection was closed
			}
			if asked != want || kinds(err) != kind {
				t.Errorf("%s: %d calls (%q), want %d; %v is %q, want %q", name, asked, calls, want, err, kinds(err), kind)
			}
		})
	}
}

// An earlier attempt that may have taken effect is not forgotten because a
// later one fails in another way.
func TestMaybeDoneIsNotForgotten(t *testing.T) {
	a := newArray(t)
	a.interfere = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 3:
			cut(w)
		case 4:
			refuse(w, 401, "", "expired")
		case 6: // login, after api_version
			refuse(w, 401, "", "this token was deleted")
		}
		return slices.Contains([]int{3, 4, 6}, n)
	}
	r := post("/volumes")
	r.Idempotent = true
	err := a.client().Do(t.Context(), r, nil)
	if !errors.Is(err, ErrMaybeDone) || !errors.Is(err, ErrUnauthorized) {
		t.Errorf("%q: %v", a.seen(), err)
	}
}

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]int{"1": 2, "0": 2, "3600": 1, "soon": 2, "Wed, 21 Oct 2015 07:28:00 GMT": 2} {
		a := newArray(t)
		busy := 0
		a.respond = func(w http.ResponseWriter, r *http.Request) {
			if busy++; busy == 1 {
				w.Header().Set("Retry-After", header)
				w.WriteHeader(503)
				return
			}
			io.WriteString(w, `{"items":[]}`)
		}
		err := ask(t.Context(), a.client())
		if busy != want || (err == nil) != (want == 2) {
			t.Errorf("Retry-After %s: %d calls, %v", header, busy, err)
		}
	}
}
