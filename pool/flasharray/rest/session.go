package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/lockfile"
)

// session is a login and the version of the interface that it was made with.
// The version is negotiated at each login: an array that was upgraded or
// replaced knows no old session.
type session struct {
	Version Version
	Token   string
	User    string // as the array calls the user; "" if it did not say
}

func (s session) api() string { return "/api/" + s.Version.String() }

// session returns one whose token is not stale: what this process has, else
// what another process of this host has left, else a new one. fresh says that
// it was made by this very call. Nobody logs in while somebody else does: who
// waited finds the result, the failure included, so that two hundred processes
// make one login, and a wrong password is tried once and not so often that the
// array locks the user out.
func (c *Client) session(ctx context.Context, stale string) (s session, fresh bool, err error) {
	if s, ok := c.known(stale); ok {
		return s, false, nil
	}
	asked := time.Now()
	select {
	case <-c.login:
		defer func() { c.login <- struct{}{} }()
	case <-ctx.Done():
		return session{}, false, c.fail(loginCall, fmt.Errorf("waited for the login: %w", context.Cause(ctx)))
	}
	if s, ok := c.known(stale); ok {
		return s, false, nil
	}
	if err := c.failedSince(asked); err != nil {
		return session{}, false, err
	}
	who, err := c.asWhom()
	if err != nil {
		return session{}, false, err
	}
	if c.shared == nil {
		s, err = c.newSession(ctx, who)
		return c.adopt(ctx, s, err), true, err
	}
	if f, ok := c.shared.read(who); ok && f.usable(stale) {
		return c.adopt(ctx, f.session(), nil), false, nil
	}
	return c.shareLogin(ctx, who, stale, asked)
}

var loginCall = call{method: http.MethodPost, path: "/login", login: true}

// known is the session of this process.
func (c *Client) known(stale string) (session, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, c.current.Token != "" && c.current.Token != stale
}

// failedSince is how a login ended that somebody of this process began after
// that moment, or while the caller waited.
func (c *Client) failedSince(asked time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil && c.failedAt.After(asked) {
		return c.failure
	}
	return nil
}

// adopt makes s the session of this process, or keeps why there is none. A
// failure by the end of ctx says nothing about the array.
func (c *Client) adopt(ctx context.Context, s session, why error) session {
	c.hide(s.Token)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.failure, c.failedAt = s, why, time.Now()
	if ctx.Err() != nil {
		c.failure = nil
	}
	return s
}

// asWhom reads the credentials; what was read is never shown from then on.
func (c *Client) asWhom() (Credentials, error) {
	who, err := c.options.Credentials()
	if err != nil {
		return who, fmt.Errorf("FlashArray %s: read the credentials: %w", c.base.Host, err)
	}
	if who.APIToken.Empty() && (who.User == "" || who.Password.Empty()) {
		return who, fmt.Errorf("FlashArray %s: neither an API token nor a user with a password is configured", c.base.Host)
	}
	c.hide(who.APIToken.Reveal())
	c.hide(who.Password.Reveal())
	return who, nil
}

// shareLogin logs in under the lock of the session file, unless somebody did
// meanwhile.
func (c *Client) shareLogin(ctx context.Context, who Credentials, stale string, asked time.Time) (session, bool, error) {
	release, err := c.lockSession(ctx)
	if err != nil && ctx.Err() != nil {
		e := c.fail(loginCall, fmt.Errorf("another process is logging in: %w", err))
		e.kind = ErrUnreachable
		return session{}, false, e
	}
	if err != nil {
		c.log.WithError(err).Warn("this process logs in on its own")
		s, err := c.newSession(ctx, who)
		return c.adopt(ctx, s, err), true, err
	}
	defer func() { warnIf(c.log, "the lock of the shared session", release()) }()
	f, ok := c.shared.read(who)
	if ok && f.usable(stale) {
		return c.adopt(ctx, f.session(), nil), false, nil
	}
	if ok && f.Failure != nil && f.Failure.At.After(asked) {
		err := f.Failure.error(c)
		return c.adopt(ctx, session{}, err), false, err
	}
	s, err := c.newSession(ctx, who)
	if err != nil && ctx.Err() != nil {
		c.shared.clear() // others ask themselves
	} else {
		c.shared.write(who, s, err)
	}
	return c.adopt(ctx, s, err), true, err
}

func warnIf(log *logrus.Entry, what string, err error) {
	if err != nil {
		log.WithError(err).Warn(what)
	}
}

// lockSession waits as long as a login may last. A process that was stopped
// while it held the lock must not keep all guests of the host from starting.
func (c *Client) lockSession(ctx context.Context) (release func() error, err error) {
	if err := c.shared.prepare(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, 3*c.options.CallTimeout)
	defer cancel()
	return lockfile.Acquire(limited, c.shared.path+".lock")
}

// newSession logs in.
func (c *Client) newSession(ctx context.Context, who Credentials) (session, error) {
	offered, err := c.offered(ctx)
	if err != nil {
		return session{}, err
	}
	version, err := c.negotiate(offered)
	if err != nil {
		return session{}, err
	}
	token := who.APIToken
	if token.Empty() {
		if token, err = c.tokenFor(ctx, who, offered); err != nil {
			return session{}, err
		}
	}
	k := loginCall
	k.api, k.header = session{Version: version}.api(), map[string]string{"api-token": token.Reveal()}
	s := session{Version: version}
	err = c.repeat(ctx, true, func() error {
		reply, err := c.send(ctx, k)
		if err != nil {
			return err
		}
		if s.Token = reply.header.Get("X-Auth-Token"); s.Token == "" {
			return c.nonsense(k, reply, errors.New("it has no header x-auth-token"))
		}
		s.User = userIn(reply.body)
		return nil
	})
	if err != nil {
		return session{}, refusedLogin(err)
	}
	c.log.WithField("version", version).Debug("logged in")
	return s, nil
}

// userIn reads whose session it is from the reply to a login. Nothing depends on
// it but what Check says, so whatever it cannot read is no user.
func userIn(body []byte) string {
	var reply struct {
		Items []struct {
			Username string `json:"username"`
		} `json:"items"`
	}
	if decode(body, &reply) != nil || len(reply.Items) != 1 || len(reply.Items[0].Username) > 64 {
		return ""
	}
	return reply.Items[0].Username
}

// tokenFor asks for the API token of a user, which only REST 1.x gives for a
// password.
func (c *Client) tokenFor(ctx context.Context, who Credentials, offered []string) (config.Secret, error) {
	old, ok := best(offered, Version{1, 0}, Version{1, 99})
	if !ok {
		return config.Secret{}, fmt.Errorf("FlashArray %s: it takes no password any more (it has no REST 1.x): "+
			"make an API token for user %s and configure that", c.base.Host, who.User)
	}
	form := url.Values{"username": {who.User}, "password": {who.Password.Reveal()}}
	k := call{
		method: http.MethodPost, api: "/api/" + old.String(), path: "/auth/apitoken", login: true, body: []byte(form.Encode()),
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
	}
	var out tokenReply
	err := c.repeat(ctx, true, func() error { return c.once(ctx, k, &out) })
	if err != nil {
		return config.Secret{}, refusedLogin(err)
	}
	c.hide(out.Token)
	return config.NewSecret(out.Token), nil
}

// tokenReply is the reply of REST 1.x to a right password.
type tokenReply struct {
	Token string `json:"api_token"`
}

func (r *tokenReply) check() error {
	if r.Token == "" {
		return errors.New("it has no api_token")
	}
	return nil
}

// refusedLogin: REST 1.x says 400 to a wrong password.
func refusedLogin(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusBadRequest {
		e.kind, e.hint = ErrUnauthorized, "check the API token, or the user and the password, of this pool"
	}
	return err
}
