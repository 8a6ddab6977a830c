package rest

import (
	"io"
	"net/http"
	"slices"
	"testing"
)

func TestLoginOnceAndAsk(t *testing.T) {
	a := newArray(t)
	c := a.client()
	for range 3 {
		must(t, ask(t.Context(), c))
	}
	want := []string{"GET /api/api_version", "POST /api/2.26/login", "GET /api/2.26/volumes", "GET /api/2.26/volumes", "GET /api/2.26/volumes"}
	if got := a.seen(); !slices.Equal(got, want) {
		t.Errorf("calls %q", got)
	}
}

func TestRequestAsSent(t *testing.T) {
	a := newArray(t)
	a.respond = func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != `{"provisioned":9007199254740993}` {
			t.Errorf("body %s, %v", body, err)
		}
		if r.URL.RawQuery != "filter=serial%3D%27A%27%20and%20x&names=pod%3A%3Av%2B1" {
			t.Errorf("query %s", r.URL.RawQuery)
		}
		io.WriteString(w, `{"items":[{"size":9223372036854775807}]}`)
	}
	r := post("/volumes")
	r.Query = map[string][]string{"names": {"pod::v+1"}, "filter": {"serial='A' and x"}}
	r.Body = map[string]int64{"provisioned": 9007199254740993}
	v, err := One[struct{ Size int64 }](t.Context(), a.client(), r)
	if err != nil || v.Size != 9223372036854775807 {
		t.Errorf("%+v, %v", v, err)
	}
}
