package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type named struct{ Name string }

// paged answers with n items, per to a page unless the limit is smaller.
func paged(n, per int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limit, err := strconv.Atoi(q.Get("limit"))
		from, err2 := strconv.Atoi("0" + strings.TrimPrefix(q.Get("continuation_token"), "from-"))
		if err != nil || err2 != nil {
			refuse(w, 400, "", "Invalid limit or token.")
			return
		}
		to := min(from+min(limit, per), n)
		var items []string
		for i := from; i < to; i++ {
			items = append(items, fmt.Sprintf(`{"name":"v%d"}`, i))
		}
		token := "null"
		if to < n {
			token = fmt.Sprintf(`"from-%d"`, to)
		}
		fmt.Fprintf(w, `{"continuation_token":%s,"more_items_remaining":%v,"items":[%s]}`, token, to < n, strings.Join(items, ","))
	}
}

func TestPages(t *testing.T) {
	for _, c := range []struct{ n, per, calls int }{{0, 10, 1}, {9, 10, 1}, {10, 10, 1}, {11, 10, 2}, {95, 10, 10}, {2500, 5000, 3}} {
		a := newArray(t)
		a.respond = paged(c.n, c.per)
		list, err := List[named](t.Context(), a.client(), get("/volumes"))
		must(t, err)
		if len(list) != c.n || c.n > 0 && list[c.n-1].Name != fmt.Sprintf("v%d", c.n-1) {
			t.Errorf("%d by %d: %d items", c.n, c.per, len(list))
		}
		if calls := len(a.seen()) - 2; calls != c.calls {
			t.Errorf("%d by %d: %d calls, want %d", c.n, c.per, calls, c.calls)
		}
	}
}

func TestPagesEndEarly(t *testing.T) {
	a := newArray(t)
	a.respond = paged(1000, 10)
	n := 0
	for _, err := range Each[named](t.Context(), a.client(), get("/volumes")) {
		must(t, err)
		if n++; n == 5 {
			break
		}
	}
	if calls := len(a.seen()) - 2; calls != 1 {
		t.Errorf("%d calls for five items", calls)
	}
}

// A list of which a page is missing is no list.
func TestPageIsLost(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArray(t)
			a.respond = paged(30, 10)
			a.interfere = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 4 {
					fault.serve(w)
				}
				return n == 4
			}
			list, err := List[named](t.Context(), a.client(), get("/volumes"))
			if (err == nil) != fault.repeatable || err == nil && len(list) != 30 || err != nil && list != nil {
				t.Errorf("%d items, %v", len(list), err)
			}
		})
	}
}

func TestEndlessLists(t *testing.T) {
	for name, page := range map[string]func(n int) string{
		"the same token": func(int) string { return `{"items":[{}],"more_items_remaining":true,"continuation_token":"x"}` },
		"empty pages": func(n int) string {
			return fmt.Sprintf(`{"items":[],"more_items_remaining":true,"continuation_token":"x%d"}`, n)
		},
	} {
		a := newArray(t)
		n := 0
		a.respond = func(w http.ResponseWriter, r *http.Request) { n++; io.WriteString(w, page(n)) }
		_, err := List[struct{}](t.Context(), a.client(), get("/volumes"))
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "does not end") || n > 2*maxEmptyPages {
			t.Errorf("%s: after %d pages: %v", name, n, err)
		}
	}
}

func TestOne(t *testing.T) {
	for n, want := range map[int]string{0: "not found", 1: "", 2: "unreachable"} {
		a := newArray(t)
		a.respond = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("limit") {
				t.Error("a look-up asked for pages")
			}
			fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(slices.Repeat([]string{`{"name":"v"}`}, n), ","))
		}
		c := a.client()
		v, err := One[named](t.Context(), c, get("/volumes"))
		if kinds(err) != want || (err == nil) != (v.Name == "v") {
			t.Errorf("GET, %d items: %+v, %v", n, v, err)
		}
		if _, err := One[named](t.Context(), c, post("/volumes")); (err == nil) != (n == 1) || err != nil && !errors.Is(err, ErrMaybeDone) {
			t.Errorf("POST, %d items: %v", n, err)
		}
	}
}
