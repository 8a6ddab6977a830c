package flasharray

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool/settings"
)

// fieldURL is what the URL form says; what it does not say is empty.
type fieldURL struct {
	base                      *url.URL // https://host[:port]
	pod, hostGroup, transport string
	user                      string
	password, token           config.Secret
}

// parseURL takes a URL apart. Its errors never show it: it may hold a password.
func parseURL(text string) (fieldURL, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		return fieldURL{}, errors.New("cannot be read as a URL: write https://user:password@array/api?pod=P&transport=nvme-tcp, " +
			"with %40 for an @ in the password, %2F for a /, %3A for a :, and so on")
	}
	switch {
	case parsed.Scheme != "https":
		return fieldURL{}, errors.New("must begin with https://")
	case parsed.Opaque != "" || parsed.Fragment != "" || strings.Contains(text, "#"):
		return fieldURL{}, errors.New("has something after a #: write %23 for a # in the password")
	case strings.TrimSuffix(parsed.Path, "/") != "" && strings.TrimSuffix(parsed.Path, "/") != "/api":
		return fieldURL{}, errors.New("must have the path /api, or none")
	}
	u := fieldURL{}
	if u.base, err = parseAddress(parsed.Host); err != nil {
		return fieldURL{}, errors.New("has no usable host: write https://array or https://array:port")
	}
	u.takeUser(parsed.User)
	return u, u.takeQuery(parsed.RawQuery)
}

// takeUser: a user alone that has the form of the array's API tokens is one.
func (u *fieldURL) takeUser(info *url.Userinfo) {
	if info == nil {
		return
	}
	name := info.Username()
	password, both := info.Password()
	if isToken(name) && !both {
		u.token = config.NewSecret(name)
		return
	}
	u.user = name
	if password != "" {
		u.password = config.NewSecret(password)
	}
}

func (u *fieldURL) takeQuery(raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return errors.New("has a query that cannot be read: write pod=P&transport=nvme-tcp&hostgroup=G")
	}
	fields := map[string]*string{"pod": &u.pod, "transport": &u.transport, "hostgroup": &u.hostGroup}
	for key, values := range query {
		field, known := fields[key]
		switch {
		case !known:
			// Not shown: after a ? that was not escaped it is a part of a password.
			return errors.New("has a key that is unknown: possible after the ? are pod, transport and hostgroup")
		case len(values) != 1:
			return fmt.Errorf("has the key %s twice", key)
		case values[0] == "":
			return fmt.Errorf("has the key %s without a value: remove it", key)
		}
		*field = values[0]
	}
	return nil
}

// parseAddress takes host[:port].
func parseAddress(text string) (*url.URL, error) {
	if _, _, err := settings.Address(text); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "https", Host: text}, nil
}
