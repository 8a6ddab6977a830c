package rest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leaks are all forms of a secret that may be in a text.
func leaks(text string) []string {
	var found []string
	for _, secret := range []string{testToken, testPassword, url.QueryEscape(testPassword), "wrong-password", sessionMark} {
		if strings.Contains(text, secret) {
			found = append(found, secret)
		}
	}
	return found
}

// TestSecretsStaySecret runs each fault at each call, by token and by password,
// against an array that says every secret that it heard, and looks at every
// error, log line and file.
func TestSecretsStaySecret(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		refuse(w, 400, fmt.Sprint(r.Form), fmt.Sprint(r.Header))
	}
	page := func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		fmt.Fprintf(w, "<html>%s %v %v %q", r.Form.Encode(), r.Form, r.Header, r.Form)
	}
	down := func(status int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			page(w, r)
		}
	}
	faulty := map[string]func(http.ResponseWriter, *http.Request){
		"none": nil, "echo": echo, "page": page, "401": down(401), "403": down(403), "500": down(500),
		"json": func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			fmt.Fprintf(w, `{"version":%q,"items":%[1]q,"api_token":[%[1]q]}`, fmt.Sprint(r.Form, r.Header))
		},
		"cut": func(w http.ResponseWriter, r *http.Request) { cut(w) },
	}
	for name, fault := range faulty {
		for who, password := range map[string]string{"token": "", "password": testPassword, "another password": "wrong-password"} {
			for n := 1; n <= 4; n++ {
				t.Run(fmt.Sprintf("%s, call %d, %s", name, n, who), func(t *testing.T) {
					t.Parallel()
					a := newArray(t)
					a.respond = func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"items":[]}`) }
					a.interfere = func(i int, w http.ResponseWriter, r *http.Request) bool {
						if i >= n && fault != nil {
							fault(w, r)
							return true
						}
						return false
					}
					file, option := shared(t)
					var logged bytes.Buffer
					c := a.client(option, func(o *Options) {
						o.Log = logTo(&logged)
						if password != "" {
							o.Credentials = byPassword("pureuser", password)
						}
					})
					var shown []string
					for _, r := range []Request{get("/volumes"), post("/volumes")} {
						err := c.Do(t.Context(), r, new(items[named]))
						shown = append(shown, fmt.Sprintf("%v %+v %#v", err, err, err))
					}
					shown = append(shown, logged.String(), fmt.Sprintf("%v %+v", c.options, c.Array()))
					shown = append(shown, others(t, filepath.Dir(file))...)
					for _, text := range shown {
						if found := leaks(text); len(found) > 0 {
							t.Errorf("%q shows %q", text, found)
						}
					}
					if logged.Len() == 0 {
						t.Error("nothing was logged")
					}
				})
			}
		}
	}
}

// others is all that other users could read below dir, names included.
func others(t *testing.T, dir string) []string {
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		list = append(list, path)
		info, err := d.Info()
		if err != nil || d.IsDir() || info.Mode().Perm()&0o077 == 0 {
			return err
		}
		data, err := os.ReadFile(path)
		list = append(list, string(data))
		return err
	})
	must(t, err)
	return list
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"items":[{"size":9223372036854775807,"name":"v"}],"more_items_remaining":false,"continuation_token":null}`)
	f.Add(`{"items":[]} `)
	f.Add(`<html>`)
	f.Fuzz(func(t *testing.T, body string) {
		var page items[struct {
			Size int64
			Name string
		}]
		err := decode([]byte(body), &page)
		if err == nil && page.Items == nil || err != nil && page.Items != nil {
			t.Errorf("%q: %+v, %v", body, page, err)
		}
	})
}

func FuzzSafe(f *testing.F) {
	f.Add("x" + testToken + "\x00")
	c := &Client{}
	c.hide(testToken)
	f.Fuzz(func(t *testing.T, text string) {
		if got := c.safe(text); len(leaks(got)) > 0 || strings.ContainsAny(got, "\n\r\x1b\x00") {
			t.Errorf("%q", got)
		}
	})
}
