package rest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"github.com/sirupsen/logrus"
)

// sessionFile is where the processes of a host share a login. Readers take no
// lock: the file is replaced as a whole. Writers hold the lock PATH.lock. A file
// that is damaged, that another user could have written or read, or that belongs
// to other credentials counts as none.
type sessionFile struct {
	path string
	log  *logrus.Entry
}

// sessionRecord is the content of the file.
type sessionRecord struct {
	Format int       `json:"format"`
	Salt   string    `json:"salt"`
	Who    string    `json:"who"` // tells other credentials, not what they are
	Since  time.Time `json:"since"`
	Major  int       `json:"major,omitempty"`
	Minor  int       `json:"minor,omitempty"`
	Token  string    `json:"token,omitempty"`
	User   string    `json:"user,omitempty"`
	// Failure is why there is no token.
	Failure *loginFailure `json:"failure,omitempty"`
}

const sessionFormat = 1

// usable says whether there is a token, and not the one that was refused.
func (r sessionRecord) usable(stale string) bool { return r.Token != "" && r.Token != stale }

func (r sessionRecord) session() session {
	return session{Version: Version{r.Major, r.Minor}, Token: r.Token, User: r.User}
}

// read returns what other processes have left for these credentials.
func (f *sessionFile) read(who Credentials) (sessionRecord, bool) {
	var r sessionRecord
	data, err := readPrivate(f.path)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sessionRecord{}, false
	case err != nil:
		f.log.WithError(err).Warn("the shared session is not used")
		return sessionRecord{}, false
	}
	salt, err := hex.DecodeString(r.Salt)
	fits := err == nil && r.Format == sessionFormat && hmac.Equal([]byte(r.Who), []byte(who.fingerprint(salt)))
	if v := (Version{r.Major, r.Minor}); r.Token != "" && (v.compare(oldest) < 0 || v.compare(newest) > 0) {
		fits = false
	}
	return r, fits
}

// write replaces the file by a session, or by why there is none: a token that
// was refused never stays. A failure to write costs others a login, no more.
func (f *sessionFile) write(who Credentials, s session, why error) {
	salt := []byte(rand.Text())
	r := sessionRecord{
		Format: sessionFormat, Salt: hex.EncodeToString(salt), Who: who.fingerprint(salt), Since: time.Now(),
		Major: s.Version.Major, Minor: s.Version.Minor, Token: s.Token, User: s.User,
	}
	if why != nil {
		r.Token, r.Failure = "", failureOf(why)
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = writePrivate(f.path, data)
	}
	if err != nil {
		f.log.WithError(err).Warn("the session is not shared")
		f.clear()
	}
}

func (f *sessionFile) clear() {
	if err := removePrivate(f.path); err != nil {
		f.log.WithError(err).Warn("an old session stays in its file")
	}
}

func (f *sessionFile) prepare() error { return privateDir(f.path) }

func (c Credentials) fingerprint(salt []byte) string {
	h := hmac.New(sha256.New, salt)
	for _, part := range []string{c.APIToken.Reveal(), c.User, c.Password.Reveal()} {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// loginFailure is an error that other processes can say too.
type loginFailure struct {
	At           time.Time `json:"at"`
	Method, Path string
	Status       int
	Messages     []Message
	Kind         string
	Text         string
	Hint         string
}

// failureKinds are the sentinels that a failed login can have.
var failureKinds = map[string]error{
	"unauthorized": ErrUnauthorized, "forbidden": ErrForbidden, "unsupported": ErrUnsupported,
	"unreachable": ErrUnreachable,
}

func failureOf(err error) *loginFailure {
	f := &loginFailure{At: time.Now()}
	for name, kind := range failureKinds {
		if errors.Is(err, kind) {
			f.Kind = name
		}
	}
	var e *Error
	if !errors.As(err, &e) {
		f.Method, f.Path, f.Text = loginCall.method, loginCall.path, err.Error()
		return f
	}
	f.Method, f.Path, f.Status, f.Messages, f.Hint = e.Method, e.Path, e.Status, e.Messages, e.hint
	if e.cause != nil {
		f.Text = e.cause.Error()
	}
	return f
}

func (f *loginFailure) error(c *Client) error {
	e := &Error{
		Array: c.base.Host, Method: f.Method, Path: f.Path, Status: f.Status, Messages: f.Messages,
		kind: failureKinds[f.Kind], hint: f.Hint,
	}
	if f.Text != "" {
		e.cause = errors.New(f.Text)
	}
	return e
}
