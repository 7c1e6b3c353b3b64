package pki

import (
	"crypto/tls"
	"sync/atomic"
	"time"
)

// Holder is the identity that a node has at the moment. Renewing exchanges it while connections go on: each new one
// takes the certificate of then. It is safe for concurrent use.
type Holder struct {
	id  atomic.Pointer[Identity]
	now func() time.Time
}

// NewHolder makes one that begins with id. Now is the clock by which certificates are judged; nil is the machine's.
func NewHolder(id *Identity, now func() time.Time) *Holder {
	h := &Holder{now: now}
	h.id.Store(id)
	return h
}

// Identity is the present one.
func (h *Holder) Identity() *Identity { return h.id.Load() }

// Replace makes id the present one, of the same node and authority.
func (h *Holder) Replace(id *Identity) { h.id.Store(id) }

// ServerTLS is Identity.ServerTLS with the certificate of the moment.
func (h *Holder) ServerTLS() *tls.Config {
	c := h.Identity().ServerTLS()
	c.Certificates, c.Time = nil, h.now
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert := h.Identity().tlsCert()
		return &cert, nil
	}
	return c
}

// ClientTLS is Identity.ClientTLS with the certificate of the moment.
func (h *Holder) ClientTLS() *tls.Config {
	c := h.Identity().ClientTLS()
	c.Certificates, c.Time = nil, h.now
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert := h.Identity().tlsCert()
		return &cert, nil
	}
	return c
}
