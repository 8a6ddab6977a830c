package rest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/volbridge/volbridge/pool"
)

// What the array's refusals mean, for errors.Is. An error that answers to none
// of them is a refusal that is shown in the array's words.
var (
	ErrNotFound            = errors.New("does not exist on the array")
	ErrDestroyed           = errors.New("is destroyed on the array, and waits to be eradicated")
	ErrExists              = errors.New("exists already on the array")
	ErrConnected           = errors.New("is connected already")
	ErrInUse               = errors.New("is in use on the array")
	ErrLimit               = errors.New("a limit of the array is reached")
	ErrEradicationDisabled = errors.New("eradication is disabled on the array")
	// ErrUnauthorized: the array does not know the token or the password.
	ErrUnauthorized = errors.New("the array refuses the login")
	// ErrForbidden: it knows who asks, and does not allow the call.
	ErrForbidden = errors.New("the array's user may not do this")
	// ErrUnsupported: the array does not know such a call.
	ErrUnsupported = errors.New("the array does not know this call")

	// ErrUnreachable is pool.ErrUnreachable: no connection, no certificate that
	// can be trusted, no reply in time, a reply that is not the array's, or an
	// array that says that it cannot serve (429, 5xx), after all repeats.
	// Nothing is known then of what the array has.
	ErrUnreachable = pool.ErrUnreachable
	// ErrMaybeDone is pool.ErrMaybeDone: an ErrUnreachable after which the call
	// may have taken effect, because it had been sent. Look at what is there.
	ErrMaybeDone = pool.ErrMaybeDone
)

// Message is one of the array's own words, made safe to show.
type Message struct {
	Context string // of what it speaks, usually a name
	Message string
}

func (m Message) String() string {
	if m.Context == "" || strings.Contains(m.Message, m.Context) {
		return m.Message
	}
	return m.Context + ": " + m.Message
}

// Error is a call that failed. It never holds a secret.
type Error struct {
	Array        string // host[:port]
	Method, Path string // the call; the path without /api/2.x, or a whole one before there is a session
	Status       int    // HTTP; 0 if there was no reply
	Messages     []Message

	kind  error  // one of the sentinels, or nil
	cause error  // what happened where the array said nothing
	hint  string // what to do

	repeatable bool          // it is worth the while to send the call again
	after      time.Duration // when, if the array said so
}

func (e *Error) Error() string {
	text := fmt.Sprintf("FlashArray %s: %s %s: %s", e.Array, e.Method, e.Path, e.what())
	if errors.Is(e.kind, ErrMaybeDone) {
		text += "; the call may have taken effect"
	}
	if e.hint != "" {
		text += "; " + e.hint
	}
	return text
}

func (e *Error) what() string {
	var parts []string
	if errors.Is(e.kind, ErrUnreachable) {
		parts = append(parts, ErrUnreachable.Error())
	}
	if e.Status != 0 && e.Status != http.StatusBadRequest {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("status %d %s", e.Status, http.StatusText(e.Status))))
	}
	if len(e.Messages) > 0 {
		words := make([]string, len(e.Messages))
		for i, m := range e.Messages {
			words[i] = m.String()
		}
		parts = append(parts, strings.Join(words, "; "))
	}
	if e.cause != nil {
		parts = append(parts, e.cause.Error())
	}
	if len(parts) == 0 {
		return "refused without a word"
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives the sentinel and the cause.
func (e *Error) Unwrap() []error {
	var list []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}
