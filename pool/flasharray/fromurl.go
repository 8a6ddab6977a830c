package flasharray

import (
	"errors"

	"github.com/volbridge/volbridge/pool"
)

// fromURL takes https://[USER@]ARRAY[:PORT][/api]?transport=T&pod=P&hostgroup=G,
// the form of the setting url without its secret. With a user the secret is the
// password, without one an API token.
func fromURL(u pool.URL) (pool.Described, error) {
	address, err := u.OneHost("/api")
	if err != nil {
		return pool.Described{}, err
	}
	if u.Query["transport"] == "" {
		return pool.Described{}, errors.New("the URL has no transport, which means Fibre Channel in other software, and volbridge cannot do that yet: " +
			"write ?transport=nvme-tcp")
	}
	if isToken(u.User) {
		return pool.Described{}, pool.ErrSecretInURL
	}
	d := pool.Described{Settings: map[string]string{"address": address}, Secret: "api_token"}
	if u.User != "" {
		d.Settings["user"], d.Secret = u.User, "password"
	}
	return d, nil
}
