package settings

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/volbridge/volbridge/internal/lazyregexp"
)

var hostForm = lazyregexp.New(`^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)$`)

// Address takes host or host:port apart; an IPv6 address stands in brackets and
// keeps them. The port is "" where there is none.
func Address(text string) (host, port string, err error) {
	u, err := url.Parse("https://" + text)
	if err == nil && u.Host == text {
		host, port = strings.TrimSuffix(text, ":"+u.Port()), u.Port()
	}
	if !hostForm.MatchString(host) {
		return "", "", errors.New("must be a host name or an IP address, with or without :port; an IPv6 address stands in brackets")
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return "", "", fmt.Errorf("%s is no port", Clip(port))
	}
	return host, port, nil
}
