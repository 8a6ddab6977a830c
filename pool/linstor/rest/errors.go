package rest

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	linstor "github.com/LINBIT/golinstor"
	"github.com/LINBIT/golinstor/client"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

// What a controller's refusals mean, for errors.Is. An error that answers to
// none of them is a refusal that is shown in the controller's words.
var (
	ErrNotFound = errors.New("does not exist on the controller")
	// These are an ErrNotFound too, and say of what.
	ErrNoDefinition = fmt.Errorf("the resource definition %w", ErrNotFound)
	ErrNoResource   = fmt.Errorf("the resource on that node %w", ErrNotFound)
	ErrNoVolume     = fmt.Errorf("the volume definition %w", ErrNotFound)
	ErrNoNode       = fmt.Errorf("the node %w", ErrNotFound)
	ErrNoGroup      = fmt.Errorf("the resource group %w", ErrNotFound)

	ErrExists = errors.New("exists already on the controller")
	ErrInUse  = errors.New("is in use on a node")
	// ErrOffline: the controller has no connection to a node's satellite.
	ErrOffline = errors.New("a node is offline")
	// ErrBadProperty: the controller does not know a property, or not that value.
	ErrBadProperty = errors.New("is no property that the controller takes")
	// ErrUnauthorized: the login is missing, wrong, or not allowed to do this.
	ErrUnauthorized = errors.New("the controller refuses the login")
)

// Error is a call that failed. It never holds a secret.
type Error struct {
	Controller   string // scheme://host:port
	Method, Path string
	Status       int    // HTTP; 0 if there was no reply
	Words        string // the controller's own

	kind  error // one of the sentinels, or nil
	cause error // what happened where the controller said nothing
	hint  string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("LINSTOR controller %s: %s %s: ", e.Controller, e.Method, e.Path)
	switch {
	case e.Words != "":
		text += e.Words
	case e.cause != nil:
		text += e.cause.Error()
	default:
		text += fmt.Sprintf("status %d", e.Status)
	}
	if errors.Is(e.kind, pool.ErrMaybeDone) {
		text += "; the call may have taken effect"
	}
	if e.hint != "" {
		text += "; " + e.hint
	}
	return text
}

// Unwrap gives what the error means, and what caused it.
func (e *Error) Unwrap() []error {
	var list []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

// elsewhere says whether another controller may be asked: nothing was sent, or
// nothing is changed and this one cannot serve.
func (e *Error) elsewhere(x *exchange) bool {
	return errors.Is(e.kind, pool.ErrUnreachable) && (!x.sent || !x.changes)
}

func (x *exchange) error(kind, cause error) *Error {
	return &Error{Controller: x.controller, Method: x.method, Path: x.path, kind: kind, cause: cause}
}

// lost is the kind of a call of which nothing is known.
func (x *exchange) lost() error {
	if x.changes && x.sent {
		return pool.ErrMaybeDone
	}
	return pool.ErrUnreachable
}

// silent: there is no reply.
func (x *exchange) silent(cause error) error { return x.error(x.lost(), cause) }

// unreadable: there is a reply, but not one that can be understood.
func (x *exchange) unreadable(cause error) error {
	e := x.error(x.lost(), cause)
	e.hint = "is this the address of a LINSTOR controller?"
	return e
}

// refused says what a reply that is no success means. It is the only place that
// does.
func (x *exchange) refused(status int, rcs []client.ApiCallRc, body []byte, login Credentials) error {
	e := x.error(nil, nil)
	e.Status = status
	e.Words = words(rcs, login)
	code := codeOf(rcs)
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden || code >= 400 && code < 500:
		e.kind, e.hint = ErrUnauthorized, "check user and password, or the token, of this pool"
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout || code == 0:
		// Not a controller's word, so that nothing is known: a 404 without one is
		// that of a wrong address, not of a missing volume.
		e.kind = x.lost()
		e.cause = fmt.Errorf("status %d, and not a controller's reply: %s", status, excerpt(body, login))
	case general[code] != nil:
		e.kind = general[code]
	case code >= 300 && code < 400:
		e.kind = ErrNotFound
	case code >= 500 && code < 600:
		e.kind = ErrExists
	case code == unknownError || code == implementationError:
		e.kind = x.lost() // it broke off in the middle
	}
	switch e.kind {
	case ErrOffline:
		e.hint = "start linstor-satellite there, or see `linstor node list`"
	case ErrInUse:
		e.hint = "something there has the device open: see `drbdadm status` and `lsof`"
	}
	return e
}

const (
	unknownError        = linstor.FailUnknownError & linstor.MaskBitsCode
	implementationError = linstor.FailImplError & linstor.MaskBitsCode
)

// general is what single codes mean.
var general = map[uint64]error{
	linstor.FailNotFoundNode & linstor.MaskBitsCode:   ErrNoNode,
	linstor.FailNotFoundRscDfn & linstor.MaskBitsCode: ErrNoDefinition,
	linstor.FailNotFoundRsc & linstor.MaskBitsCode:    ErrNoResource,
	linstor.FailNotFoundVlmDfn & linstor.MaskBitsCode: ErrNoVolume,
	linstor.FailNotFoundRscGrp & linstor.MaskBitsCode: ErrNoGroup,

	linstor.FailInvldProp & linstor.MaskBitsCode:          ErrBadProperty,
	linstor.FailInvldRscName & linstor.MaskBitsCode:       pool.ErrInvalidName,
	linstor.FailNotEnoughFreeSpace & linstor.MaskBitsCode: pool.ErrNoSpace,
	linstor.FailNotEnoughNodes & linstor.MaskBitsCode:     pool.ErrNoSpace,

	linstor.FailInUse & linstor.MaskBitsCode:           ErrInUse,
	linstor.FailNotConnected & linstor.MaskBitsCode:    ErrOffline,
	linstor.FailMissingStltConn & linstor.MaskBitsCode: ErrOffline,
}

// codeOf is the first error's code; 0 if there is none.
func codeOf(rcs []client.ApiCallRc) uint64 {
	for _, rc := range rcs {
		if c := uint64(rc.RetCode); c&linstor.MaskBitsType == linstor.MaskError {
			return c & linstor.MaskBitsCode
		}
	}
	return 0
}

const (
	maxWordRunes = 200 // libvirt cuts what a hook says after about 1 KiB
	maxWords     = 4
)

// words are the controller's, made safe to show.
func words(rcs []client.ApiCallRc, login Credentials) string {
	var list []string
	for _, rc := range rcs {
		if uint64(rc.RetCode)&linstor.MaskBitsType != linstor.MaskError || len(list) == maxWords {
			continue
		}
		text := safe(rc.Message, login)
		for _, more := range []string{rc.Cause, rc.Correction} {
			if more = safe(more, login); more != "" {
				text += " (" + more + ")"
			}
		}
		if len(rc.ErrorReportIds) > 0 {
			text += " (error report " + safe(strings.Join(rc.ErrorReportIds, ", "), login) + ")"
		}
		list = append(list, text)
	}
	return strings.Join(list, "; ")
}

// excerpt is how a reply begins.
func excerpt(body []byte, login Credentials) string {
	return fmt.Sprintf("%q", safe(string(body), login))
}

// safe makes foreign text fit to be shown: without the secrets that it may
// repeat, without control characters, and short.
func safe(text string, login Credentials) string {
	for _, s := range []config.Secret{login.Password, login.Token} {
		if secret := s.Reveal(); secret != "" {
			for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret)} {
				text = strings.ReplaceAll(text, form, config.Redacted)
			}
		}
	}
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(text); len(runes) > maxWordRunes {
		return string(runes[:maxWordRunes]) + "…"
	}
	return text
}
