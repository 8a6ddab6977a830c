package flasharray

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// bodyLimit is far above what any call needs.
const bodyLimit = 1 << 20

// request is one call as the endpoints see it.
type request struct {
	header http.Header
	query  url.Values
	body   []byte
	caller string // IP address
}

func newRequest(r *http.Request) (*request, *failure) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit))
	if err != nil {
		return nil, refuse("", "Invalid request body.")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse("", "Invalid query string.")
	}
	caller, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return nil, refuse("", "Invalid address.")
	}
	return &request{header: r.Header, query: query, body: body, caller: caller}, nil
}

// list is a comma-separated parameter.
func (r *request) list(name string) []string {
	text := r.query.Get(name)
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// decode reads the body strictly: a misspelt key must not pass unnoticed.
func (r *request) decode(into any) *failure {
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return refuse("", "Invalid request body: %s.", err)
	}
	return nil
}

// allows refuses parameters that the endpoint does not have, or has only in a
// later version.
func (r *request) allows(e endpoint, minor int) *failure {
	for name := range r.query {
		since, dated := sinceMinor[name]
		if !slices.Contains(e.params, name) || dated && minor < since {
			return refuse(name, "Invalid query parameter.")
		}
	}
	return nil
}

// sinceMinor is the REST version 2.x that brought a parameter, where that is
// later than what it belongs to.
var sinceMinor = map[string]int{"with_default_protection": 16, "volume_ids": 9}
