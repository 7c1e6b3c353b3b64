package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// UnreachableError tells that no answer came: nothing listens there, or the connection broke. Whether a
// request that was not a GET took effect is then not known.
type UnreachableError struct {
	URL string
	Err error
}

// Error names the address, the cause, and what may mend it.
func (e *UnreachableError) Error() string {
	text := fmt.Sprintf("the API at %s cannot be reached: %s", e.URL, e.Err)
	if hint := hintFor(e.Err); hint != "" {
		text += ": " + hint
	}
	return text
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// errWantsTLS is the answer of a port with TLS to who speaks without.
var errWantsTLS = errors.New("it speaks HTTPS only")

// hintFor says what to do about an error of the network; "" when there is nothing to add.
func hintFor(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var header tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.As(err, &unknown):
		return "if the server's certificate is of an authority of your own, name the file that holds it: SSL_CERT_FILE=/path/ca.pem"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "look at this machine's clock; if it is right, the server needs another certificate"
	case errors.As(err, &name):
		return "use a name that the certificate has"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &header):
		return "it speaks plain HTTP: begin the address with http://"
	case errors.Is(err, errWantsTLS):
		return "begin the address with https://"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: is the server running, and the address right?"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "is the name right?"
	}
	return ""
}

// wantsTLS tells the answer of a server of Go's that speaks TLS only to a request in clear.
func wantsTLS(resp *http.Response, b []byte) bool {
	return resp.StatusCode == http.StatusBadRequest && resp.Request.URL.Scheme == "http" && strings.HasPrefix(string(b), "Client sent an HTTP request to an HTTPS server")
}
