package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"
)

// ErrNone says that a folder holds no identity yet.
var ErrNone = errors.New("no node certificate here yet")

// ErrForeign says that a server's authority is not the one that was pinned.
var ErrForeign = errors.New("the server belongs to another cluster than the token: its authority is not the pinned one")

// Identity is who a node is: its key and certificate, and the authority it trusts. It is immutable.
type Identity struct {
	Node      string // the certificate's common name
	Instance  string // see Subject; "" in certificates of earlier versions
	ClusterID string
	CA        *x509.Certificate
	cert      *x509.Certificate
	key       ed25519.PrivateKey
}

// Request is a key with a request for its certificate: what a joiner sends. The key never leaves the node.
type Request struct {
	key ed25519.PrivateKey
	CSR []byte // DER
}

// NewRequest makes a fresh key and the request for it.
func NewRequest(name string) (*Request, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the node's key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate request: %w", err)
	}
	return &Request{key: key, CSR: csr}, nil
}

// Identity joins the request's key with the certificate that was made for it (DER). A certificate of another
// authority, key or without a cluster id is refused.
func (r *Request) Identity(certDER []byte, ca *x509.Certificate) (*Identity, error) {
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("the node's certificate: %w", err)
	}
	return newIdentity(cert, r.key, ca)
}

func newIdentity(cert *x509.Certificate, key ed25519.PrivateKey, ca *x509.Certificate) (*Identity, error) {
	if pub, ok := cert.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("the node's key does not belong to its certificate")
	}
	if err := cert.CheckSignatureFrom(ca); err != nil {
		return nil, fmt.Errorf("the node's certificate is not of this cluster's authority: %w", err)
	}
	id := &Identity{Node: cert.Subject.CommonName, Instance: cert.Subject.SerialNumber, ClusterID: clusterOf(cert), CA: ca, cert: cert, key: key}
	if id.Node == "" || id.ClusterID == "" || id.ClusterID != clusterOf(ca) {
		return nil, errors.New("the node's certificate does not name its node and cluster")
	}
	return id, nil
}

// Issue makes an identity on the spot, for the first node of a cluster and for derived authorities.
func (a *Authority) Issue(whom Subject, now time.Time) (*Identity, error) {
	req, err := NewRequest(whom.Name)
	if err != nil {
		return nil, err
	}
	der, err := a.Sign(req.CSR, whom, now)
	if err != nil {
		return nil, err
	}
	return req.Identity(der, a.cert)
}

// Fingerprint is that of the authority, as tokens pin it.
func (id *Identity) Fingerprint() string { return Fingerprint(id.CA.Raw) }

// Expires is when the certificate ends.
func (id *Identity) Expires() time.Time { return id.cert.NotAfter }

// Renewable says whether it is time for the next certificate: a third of its life is left, or it does not say which
// instance of its node it is for.
func (id *Identity) Renewable(now time.Time) bool {
	life := id.cert.NotAfter.Sub(id.cert.NotBefore.Add(clockSlack))
	return id.Instance == "" || id.cert.NotAfter.Sub(now) < life/3
}

// ServerTLS is for a listener. A client certificate of the cluster's authority is checked if one is given; who
// needs one must look at the connection's PeerCertificates. The authority itself is sent along, so that a
// client that knows only its fingerprint can pin it.
func (id *Identity) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{id.tlsCert()},
		ClientAuth:   tls.VerifyClientCertIfGiven,
		ClientCAs:    id.pool(),
	}
}

// ClientTLS is for dialing another node of the cluster.
func (id *Identity) ClientTLS() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{id.tlsCert()},
		RootCAs:      id.pool(),
		ServerName:   NodeName,
	}
}

func (id *Identity) tlsCert() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{id.cert.Raw, id.CA.Raw}, PrivateKey: id.key, Leaf: id.cert}
}

func (id *Identity) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(id.CA)
	return p
}

// PinnedTLS is for dialing with nothing but the authority's fingerprint: the server must present that authority
// and a certificate it signed for serverName.
func PinnedTLS(fingerprint, serverName string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: serverName,
		// The chain is verified below, against the authority that the fingerprint picks.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, ca := range cs.PeerCertificates[1:] {
				if Fingerprint(ca.Raw) != fingerprint {
					continue
				}
				pool := x509.NewCertPool()
				pool.AddCert(ca)
				_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: serverName, Roots: pool})
				return err
			}
			return ErrForeign
		},
	}
}

// CAPEM is the authority's certificate as PEM.
func (id *Identity) CAPEM() []byte { return certPEM(id.CA.Raw) }
