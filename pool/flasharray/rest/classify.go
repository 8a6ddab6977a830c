package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// refusals are the array's words, in lower case, and what they mean; the first
// that fits counts. The words are Purity's, as drivers of other projects know
// them. "Connection already exists" stands before "already exists", which would
// fit too.
var refusals = []struct {
	words string
	kind  error
}{
	{"connection already exists", ErrConnected},
	{"has been destroyed", ErrDestroyed},
	{"has been deleted", ErrDestroyed}, // some versions' word for it
	{"does not exist", ErrNotFound},
	{"no such volume or snapshot", ErrNotFound},
	{"already in use", ErrInUse},
	{"existing connections", ErrInUse},
	{"eradication is disabled", ErrEradicationDisabled},
	{"limit reached", ErrLimit},
	{"already exists", ErrExists},
}

// kindOf classifies the words of a 400. A call with several objects can be
// refused for several reasons; unless all mean the same it means nothing that
// a caller could act upon.
func kindOf(messages []Message) error {
	var kind error
	for i, m := range messages {
		k := kindOfText(m.Message)
		if i > 0 && k != kind {
			return nil
		}
		kind = k
	}
	return kind
}

func kindOfText(text string) error {
	text = strings.ToLower(text)
	for _, r := range refusals {
		if strings.Contains(text, r.words) {
			return r.kind
		}
	}
	return nil
}

// classify says what a reply that is no success means. It is the only place
// that does.
func (e *Error) classify(a answer, changes bool) {
	e.Status = a.status
	switch {
	case a.status == http.StatusBadRequest:
		e.kind = kindOf(e.Messages)
	case a.status == http.StatusUnauthorized:
		e.kind, e.hint = ErrUnauthorized, "check the API token, or the user and the password, of this pool"
	case a.status == http.StatusForbidden:
		e.kind, e.hint = ErrForbidden, "give the array's user of this pool the role storage_admin"
	case a.status == http.StatusNotFound:
		e.kind, e.hint = ErrUnsupported, "is this the management address of a FlashArray?"
	case a.status == http.StatusTooManyRequests:
		e.kind, e.repeatable, e.after = ErrUnreachable, true, retryAfter(a.header)
	case a.status >= 500:
		e.kind, e.repeatable, e.after = lost(changes), true, retryAfter(a.header)
	case a.status >= 300 && a.status < 400:
		e.kind, e.hint = ErrUnreachable, "redirects are not followed: give the management address itself"
	}
}

// lost is the kind of a call that was sent and whose result is not known.
func lost(changes bool) error {
	if changes {
		return ErrMaybeDone
	}
	return ErrUnreachable
}

// retryAfter reads both forms of the header; 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 16); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if when, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(when))
	}
	return 0
}

// words takes the array's messages out of a body: REST 2.x's object of errors,
// or REST 1.x's list. Anything else has none.
func (c *Client) words(body []byte) []Message {
	var two struct {
		Errors []struct{ Context, Message string }
	}
	var one []struct{ Ctx, Msg string }
	var list []Message
	if json.Unmarshal(body, &two) == nil {
		for _, m := range two.Errors {
			list = append(list, Message{c.safe(m.Context), c.safe(m.Message)})
		}
	} else if json.Unmarshal(body, &one) == nil {
		for _, m := range one {
			list = append(list, Message{c.safe(m.Ctx), c.safe(m.Msg)})
		}
	}
	if len(list) > maxMessages {
		list = list[:maxMessages]
	}
	return list
}
