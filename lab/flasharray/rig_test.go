package flasharray_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/volbridge/volbridge/lab/flasharray"
)

// rig is an array and somebody who is logged in.
type rig struct {
	*flasharray.Array
	t     *testing.T
	url   string
	token string
}

func newRig(t *testing.T, o flasharray.Options) *rig {
	t.Helper()
	r := &rig{Array: flasharray.New(o), t: t}
	s := httptest.NewServer(r.Array)
	t.Cleanup(s.Close)
	r.url = s.URL
	r.login()
	return r
}

func (r *rig) login() {
	r.t.Helper()
	q, err := http.NewRequest("POST", r.url+"/api/2.2/login", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("api-token", flasharray.TestToken)
	n, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	n.Body.Close()
	if r.token = n.Header.Get("x-auth-token"); r.token == "" {
		r.t.Fatal("no session:", n.Status)
	}
}

// try calls with the newest version; query is written as in a URL, unescaped.
func (r *rig) try(method, path, query string, body any) (status int, text []byte, err error) {
	r.t.Helper()
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			r.t.Fatal(err)
		}
		send = bytes.NewReader(b)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		r.t.Fatal(err)
	}
	q, err := http.NewRequest(method, r.url+"/api/2.26"+path+"?"+values.Encode(), send)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("x-auth-token", r.token)
	n, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, nil, err
	}
	defer n.Body.Close()
	text, err = io.ReadAll(n.Body)
	return n.StatusCode, text, err
}

type listing struct {
	Items []map[string]any
	More  bool   `json:"more_items_remaining"`
	Token string `json:"continuation_token"`
	Total *int   `json:"total_item_count"`
}

func (r *rig) ok(method, path, query string, body any) listing {
	r.t.Helper()
	status, text, err := r.try(method, path, query, body)
	if err != nil || status != 200 {
		r.t.Fatalf("%s %s?%s: %d %s %v", method, path, query, status, text, err)
	}
	var l listing
	if len(text) > 0 {
		if err := json.Unmarshal(text, &l); err != nil {
			r.t.Fatalf("%s: %v", text, err)
		}
	}
	return l
}

// refused returns the message of a 400.
func (r *rig) refused(method, path, query string, body any) string {
	r.t.Helper()
	status, text, err := r.try(method, path, query, body)
	var e struct {
		Errors []struct{ Context, Message string }
	}
	if err != nil || status != 400 || json.Unmarshal(text, &e) != nil || len(e.Errors) != 1 {
		r.t.Fatalf("%s %s?%s: %d %s %v, want an error 400", method, path, query, status, text, err)
	}
	return e.Errors[0].Message
}

func (l listing) names() (list []string) {
	for _, o := range l.Items {
		list = append(list, fmt.Sprint(o["name"]))
	}
	return list
}

type m = map[string]any
