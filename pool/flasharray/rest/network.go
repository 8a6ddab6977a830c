package rest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
)

// foreign keeps an error for errors.Is and shows safe words instead of its own.
type foreign struct {
	text string
	err  error
}

func (f foreign) Error() string { return f.text }
func (f foreign) Unwrap() error { return f.err }

// explained makes an error of the network safe to show, and says what to do.
func (c *Client) explained(err error) (hint string, cause error) {
	cause = foreign{c.safe(err.Error()), err}
	switch {
	case isCertificate(err):
		return "give the certificate of the authority that signed the array's as ca_file, " +
			"and the name that the certificate has as the array's address", cause
	case errors.Is(err, http.ErrSchemeMismatch):
		return "is this the management address of a FlashArray?", cause
	}
	return "", cause
}

func isCertificate(err error) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
