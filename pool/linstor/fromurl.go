package linstor

import (
	"errors"
	"strings"

	"github.com/volbridge/volbridge/pool"
)

// fromURL takes linstor+https://[USER@]CONTROLLER[:PORT][,CONTROLLER…]/?resource_group=RG.
// With a user the secret is the password; without one a token, or nothing.
func fromURL(u pool.URL) (pool.Described, error) {
	if len(u.Hosts) == 0 {
		return pool.Described{}, errors.New("the URL names no controller: write linstor+https://CONTROLLER,CONTROLLER/?resource_group=GROUP")
	}
	if err := u.OnlyPath(); err != nil {
		return pool.Described{}, err
	}
	d := pool.Described{Settings: map[string]string{"controllers": strings.Join(u.Hosts, ",")}, Secret: "token", NoSecret: true}
	if u.Scheme == "linstor+https" || u.Scheme == "linstor+ssl" {
		d.Settings["tls"] = "true"
	}
	if u.User != "" {
		d.Settings["user"], d.Secret, d.NoSecret = u.User, "password", false
	}
	return d, nil
}
