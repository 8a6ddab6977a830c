package linstor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// diary is satellites that only note what they are told.
type diary []string

func (d *diary) note(format string, args ...any) error {
	*d = append(*d, fmt.Sprintf(format, args...))
	return nil
}

func (d *diary) Deploy(Resource) error        { return nil }
func (d *diary) Available(Resource) error     { return nil }
func (d *diary) Remove(r Resource) error      { return d.note("remove %s", r.Node) }
func (d *diary) Resize([]Resource) error      { return nil }
func (d *diary) InUse(Resource) (bool, error) { return false, nil }
func (d *diary) TwoPrimaries(a, b Resource, on bool) error {
	return d.note("two on %s+%s: %v", min(a.Node, b.Node), max(a.Node, b.Node), on)
}

// What a connection allowed ends with it, also for the node that stays, and
// wherever it was set.
func TestWhoLeavesTakesTwoPrimariesAlong(t *testing.T) {
	for where, path := range map[string]string{"the connection": "/resource-connections/a/b", "the resource": ""} {
		told := &diary{}
		c := New(Options{Satellites: told, NoTieBreaker: true})
		c.AddNode("a", Pool{Name: "thin", Kind: "LVM_THIN", TotalKiB: 1 << 20})
		c.AddNode("b")
		c.AddGroup(Group{Name: "g", PlaceCount: 1})
		if err := c.AddVolume("g", "r0", 1024, "a"); err != nil {
			t.Fatal(err)
		}
		call := func(method, path, body string) {
			t.Helper()
			w := httptest.NewRecorder()
			q := httptest.NewRequest(method, "/v1/resource-definitions/r0"+path, strings.NewReader(body))
			q.Header.Set("Content-Type", "application/json")
			if c.ServeHTTP(w, q); w.Code/100 != 2 {
				t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
		call(http.MethodPost, "/resources/b/make-available", "{}")
		call(http.MethodPut, path, `{"override_props": {"DrbdOptions/Net/allow-two-primaries": "yes"}}`)
		call(http.MethodDelete, "/resources/b", "")
		if want := []string{"two on a+b: true", "two on a+b: false", "remove b"}; !slices.Equal(*told, want) {
			t.Errorf("%s: the nodes were told %q, want %q", where, *told, want)
		}
		*told = nil
		call(http.MethodPost, "/resources/b/make-available", "{}")
		var want []string
		if path == "" {
			want = []string{"two on a+b: true"} // it is still set
		}
		if !slices.Equal(*told, want) {
			t.Errorf("%s: who came back was told %q, want %q", where, *told, want)
		}
	}
}
