package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/pool"
)

var allKinds = map[string]error{
	"not found": ErrNotFound, "destroyed": ErrDestroyed, "exists": ErrExists, "connected": ErrConnected, "in use": ErrInUse,
	"limit": ErrLimit, "eradication": ErrEradicationDisabled, "unauthorized": ErrUnauthorized, "forbidden": ErrForbidden,
	"unsupported": ErrUnsupported, "unreachable": ErrUnreachable, "maybe done": ErrMaybeDone,
}

// kinds are the sentinels that err answers to.
func kinds(err error) string {
	var list []string
	for _, name := range []string{"not found", "destroyed", "exists", "connected", "in use", "limit", "eradication",
		"unauthorized", "forbidden", "unsupported", "unreachable", "maybe done"} {
		if errors.Is(err, allKinds[name]) {
			list = append(list, name)
		}
	}
	return strings.Join(list, ", ")
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, kind string
		says       string
	}{
		{400, `{"errors":[{"context":"vol1","message":"Volume does not exist."}]}`, "not found", "vol1: Volume does not exist."},
		{400, `{"errors":[{"message":"No such volume or snapshot."}]}`, "not found", "No such volume or snapshot."},
		{400, `{"errors":[{"context":"vol1","message":"VOLUME HAS BEEN DESTROYED."}]}`, "destroyed", "vol1"},
		{400, `{"errors":[{"context":"vol1","message":"Volume has been deleted."}]}`, "destroyed", "vol1"},
		{400, `{"errors":[{"context":"vol1","message":"Volume already exists."}]}`, "exists", ""},
		{400, `{"errors":[{"context":"vol1","message":"Connection already exists."}]}`, "connected", ""},
		{400, `{"errors":[{"context":"h","message":"The NQN is already in use by host h2."}]}`, "in use", "h2"},
		{400, `{"errors":[{"context":"vol1","message":"Volume has existing connections."}]}`, "in use", ""},
		{400, `{"errors":[{"context":"pod1","message":"Volume limit reached."}]}`, "limit", ""},
		{400, `{"errors":[{"context":"vol1","message":"Eradication is disabled."}]}`, "eradication", ""},
		{400, `{"errors":[{"context":"vol1","message":"Invalid size."}]}`, "", "vol1: Invalid size."},
		{400, `{"errors":[{"context":"a","message":"Volume does not exist."},{"context":"b","message":"Volume does not exist."}]}`, "not found", "b: "},
		{400, `{"errors":[{"context":"a","message":"Volume does not exist."},{"context":"b","message":"Volume has existing connections."}]}`, "", "existing"},
		{400, `{"errors":[]}`, "", "begins with"},
		{400, ``, "", "refused without a word"},
		{400, `<html>does not exist</html>`, "", "<html>"},
		{401, `{"errors":[{"message":"does not exist"}]}`, "unauthorized", "check the API token"},
		{403, `{"errors":[{"message":"already exists"}]}`, "forbidden", "storage_admin"},
		{404, `{"errors":[{"message":"Volume does not exist."}]}`, "unsupported", "status 404"},
		{409, `{"errors":[{"message":"already exists"}]}`, "", "status 409"},
		{429, ``, "unreachable", "status 429"},
		{500, `{"errors":[{"message":"does not exist"}]}`, "unreachable, maybe done", "status 500"},
		{502, `<html>`, "unreachable, maybe done", "status 502"},
		{503, ``, "unreachable, maybe done", "may have taken effect"},
		{302, ``, "unreachable", "redirects are not followed"},
	} {
		a := newArray(t)
		a.respond = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		}
		err := a.client().Do(t.Context(), post("/connections"), nil)
		var e *Error
		if !errors.As(err, &e) || kinds(err) != c.kind || e.Status != c.status {
			t.Errorf("%d %s: %v is %q, want %q", c.status, c.body, err, kinds(err), c.kind)
			continue
		}
		for _, part := range []string{"FlashArray 127.0.0.1:", "POST /connections: ", c.says} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
}

func TestUnreachableIsThePools(t *testing.T) {
	//lint:ignore SA1032 that the pool's error is not this one is what is tested
	if !errors.Is(ErrMaybeDone, pool.ErrUnreachable) || errors.Is(pool.ErrUnreachable, ErrMaybeDone) {
		t.Error("the sentinels do not agree with pool's")
	}
}

// The array's words are shown in one short line without control characters.
func TestForeignWordsAreMadeSafe(t *testing.T) {
	a := newArray(t)
	a.respond = func(w http.ResponseWriter, r *http.Request) {
		refuse(w, 400, "v\n\x1b[31m", strings.Repeat("ä", 5000))
	}
	err := a.client().Do(t.Context(), post("/volumes"), nil)
	if text := err.Error(); strings.ContainsAny(text, "\n\x1b") || len(text) > 700 || !strings.Contains(text, `v\n\x1b[31m`) {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

func TestNonsense(t *testing.T) {
	for name, body := range map[string]string{
		"HTML": "<!DOCTYPE html><title>Login</title>", "nothing": "", "spaces": " \n", "half": `{"items":[{"size":1`,
		"trailing": `{"items":[]} x`, "two values": `{"items":[]}{"items":[]}`, "no items": `{}`, "null items": `{"items":null}`,
		"a list": `[]`, "a text for a number": `{"items":[{"size":"1"}]}`, "a fraction": `{"items":[{"size":1.5}]}`,
		"an exponent": `{"items":[{"size":1e3}]}`, "too large a number": `{"items":[{"size":9223372036854775808}]}`,
		"lost pages": `{"items":[],"more_items_remaining":true}`, "a long reply": strings.Repeat(" ", maxReplyBytes+1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArray(t)
			a.respond = func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }
			c := a.client()
			list, err := List[struct{ Size int64 }](t.Context(), c, get("/volumes"))
			if kinds(err) != "unreachable" || list != nil {
				t.Errorf("%v, %v", list, err)
			}
			out, err := One[struct{ Size int64 }](t.Context(), c, post("/volumes"))
			if kinds(err) != "unreachable, maybe done" || out.Size != 0 {
				t.Errorf("sent by POST: %+v, %v", out, err)
			}
		})
	}
}

func TestSilentArray(t *testing.T) {
	a := newArray(t)
	quiet := make(chan struct{})
	t.Cleanup(func() { close(quiet) })
	a.respond = func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-quiet:
		case <-r.Context().Done():
		}
	}
	c := a.client(func(o *Options) { o.CallTimeout = time.Second })
	_, err := c.Version(t.Context())
	must(t, err)
	before := len(a.seen())
	err = ask(t.Context(), c)
	if kinds(err) != "unreachable" || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "call_timeout is 1s") {
		t.Errorf("%v", err)
	}
	if n := len(a.seen()) - before; n != 1 {
		t.Errorf("a call that used up its time was sent %d times", n)
	}
	err = c.Do(t.Context(), post("/volumes"), nil)
	if kinds(err) != "unreachable, maybe done" {
		t.Errorf("%v", err)
	}

	c = a.client()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := ask(ctx, c); kinds(err) != "unreachable" || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "whole operation") {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := ask(ctx, c); kinds(err) != "" || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	a := newArray(t)
	c := a.client()
	_, err := c.Version(t.Context())
	must(t, err)
	a.Close()
	c.Close()
	// Nothing was sent, so nothing can have been done.
	if err := c.Do(t.Context(), post("/volumes"), nil); kinds(err) != "unreachable" || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
	if err := ask(t.Context(), c); kinds(err) != "unreachable" {
		t.Errorf("%v", err)
	}
}
