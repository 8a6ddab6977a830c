package linstor

import (
	"fmt"

	"github.com/volbridge/volbridge/pool/linstor/rest"
	"github.com/volbridge/volbridge/pool/settings"
)

// login is how a controller is told who asks.
type login struct {
	user            string
	password, token settings.Place
}

func (l login) given() bool { return l.password.Given() || l.token.Given() }

// login finds the one place of each secret.
func (s *Settings) login(wrong settings.Findings) login {
	l := login{
		user:     s.User,
		password: wrong.Secret(settings.Places("password", s.Password, s.PasswordFile, s.PasswordCredential)...),
		token:    wrong.Secret(settings.Places("token", s.Token, s.TokenFile, s.TokenCredential)...),
	}
	switch {
	case l.token.Given() && (l.password.Given() || l.user != ""):
		wrong.Add("user", fmt.Sprintf("there is a token already (%s): remove one of them", l.token.Key))
	case l.password.Given() && l.user == "":
		wrong.Add("user", fmt.Sprintf("is required beside a password (%s)", l.password.Key))
	case l.user != "" && !l.password.Given():
		wrong.Add("password", "is required beside a user, or password_file or password_credential")
	}
	return l
}

// reader returns what reads the login anew each time, so that a secret can be
// changed while a process runs.
func (l login) reader(store *settings.Store) func() (rest.Credentials, error) {
	return func() (c rest.Credentials, err error) {
		c.User = l.user
		if l.token.Given() {
			c.Token, err = l.token.Read(store)
		} else {
			c.Password, err = l.password.Read(store)
		}
		return c, err
	}
}
