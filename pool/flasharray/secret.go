package flasharray

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
	"github.com/volbridge/volbridge/pool/settings"
)

// login is how the array is to be told who asks: by token, or by user and
// password.
type login struct {
	user            string
	token, password settings.Place
}

// login finds the one place of each secret.
func (s *Settings) login(u fieldURL, wrong settings.Findings) login {
	secret := func(inURL config.Secret, more []settings.Place) settings.Place {
		return wrong.Secret(append([]settings.Place{{Key: "url", Value: inURL}}, more...)...)
	}
	notTokens(wrong, map[string]string{"api_token_credential": s.APITokenCredential, "password_credential": s.PasswordCredential})
	l := login{
		user:     agree(wrong, "user", s.User, u.user),
		token:    secret(u.token, settings.Places("api_token", s.APIToken, s.APITokenFile, s.APITokenCredential)),
		password: secret(u.password, settings.Places("password", s.Password, s.PasswordFile, s.PasswordCredential)),
	}
	switch {
	case l.token.Given() && l.password.Given():
		wrong.Add(l.password.Key, fmt.Sprintf("there is an API token already (%s): remove one of them", l.token.Key))
	case l.token.Given() && l.user != "":
		wrong.Add("user", fmt.Sprintf("an API token (%s) needs no user: remove it", l.token.Key))
	case l.password.Given() && l.user == "":
		wrong.Add("user", fmt.Sprintf("is required beside a password (%s)", l.password.Key))
	case l.user != "" && !l.password.Given():
		wrong.Add("password", "is required beside a user, or password_file or password_credential")
	case !l.token.Given() && !l.password.Given():
		wrong.Add("api_token", "a login is required: api_token, api_token_file or api_token_credential; or user with password, "+
			"password_file or password_credential")
	}
	return l
}

// notTokens refuses names of credentials that look like an API token: it would be
// searched for as a name, and not be found.
func notTokens(wrong settings.Findings, credentials map[string]string) {
	for key, name := range credentials {
		if isToken(name) {
			wrong.Misplaced(key, "has the form of an API token, and must be the name of a credential of systemd")
		}
	}
}

// isToken: the array's API tokens have the form of a UUID.
func isToken(text string) bool {
	_, err := uuid.Parse(text)
	return err == nil
}

// credentials returns what reads the login anew each time that it is called.
func (l login) credentials(store *settings.Store) func() (rest.Credentials, error) {
	return func() (rest.Credentials, error) {
		c := rest.Credentials{User: l.user}
		var err error
		if l.token.Given() {
			c.APIToken, err = l.token.Read(store)
		} else {
			c.Password, err = l.password.Read(store)
		}
		return c, err
	}
}
