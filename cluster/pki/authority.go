// Package pki makes and keeps the certificates of a cluster: one authority per cluster, one certificate per
// node. Everything is Ed25519 and lies in PEM files below DATA/pki, keys with mode 0600.
package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Names that every node's certificate carries besides its own. A peer is verified against the authority and
// NodeName, an agent's bus connection against the authority and BusName: so any address or load balancer will do.
const (
	NodeName = "node.muster"
	BusName  = "bus.muster"
)

// The life of certificates. Both kinds begin in the past, as clocks of nodes differ.
const (
	authorityYears = 30
	// DefaultLife is how long a node's certificate holds, unless the cluster says otherwise.
	DefaultLife = 365 * 24 * time.Hour
	clockSlack  = 24 * time.Hour
)

// Authority is a cluster's certificate authority, with its key. It is immutable and safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

// NewAuthority makes an authority with a random key for the cluster of that id.
func NewAuthority(clusterID string, now time.Time) (*Authority, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, fmt.Errorf("making the authority's key: %w", err)
	}
	return newAuthority(clusterID, seed, now.Add(-clockSlack))
}

// Derived is everything that the nodes of one installation by configuration management agree on without
// talking: each computes it from the same secret.
type Derived struct {
	ClusterID string
	GossipKey []byte // 32 bytes
	Authority *Authority
}

// Derive computes a cluster's identity from a secret that all its nodes share. The same secret gives the same
// bytes on each node, so the secret is worth as much as the authority's key. It must have 16 bytes or more.
func Derive(secret []byte) (*Derived, error) {
	secret = bytes.TrimSpace(secret)
	if len(secret) < 16 {
		return nil, errors.New("the cluster secret is too short: put at least 16 random characters into the file")
	}
	part := func(info string, n int) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, []byte("muster-bootstrap-1"), info, n)
	}
	id, err := part("cluster id", 16)
	if err != nil {
		return nil, fmt.Errorf("deriving the cluster id: %w", err)
	}
	gossip, err := part("gossip key", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the gossip key: %w", err)
	}
	seed, err := part("authority", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("deriving the authority: %w", err)
	}
	d := &Derived{ClusterID: hex.EncodeToString(id), GossipKey: gossip}
	// Fixed dates: all nodes must make the same certificate.
	d.Authority, err = newAuthority(d.ClusterID, seed, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
	return d, err
}

func newAuthority(clusterID string, seed []byte, from time.Time) (*Authority, error) {
	key := ed25519.NewKeyFromSeed(seed)
	sum := sha256.Sum256(key.Public().(ed25519.PublicKey))
	tmpl := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(sum[:15]),
		Subject:               pkix.Name{CommonName: "muster cluster authority", Organization: []string{clusterID}},
		NotBefore:             from.UTC().Truncate(time.Second),
		NotAfter:              from.UTC().Truncate(time.Second).AddDate(authorityYears, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId:          sum[:20],
	}
	der, err := x509.CreateCertificate(nil, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making the authority: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// ParseAuthority reads what CertPEM and KeyPEM gave.
func ParseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	cert, err := ParseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the authority's key: %w", err)
	}
	if pub, ok := cert.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("the authority's key does not belong to its certificate")
	}
	return &Authority{cert: cert, key: key}, nil
}

// Cert is the authority's certificate.
func (a *Authority) Cert() *x509.Certificate { return a.cert }

// CertPEM is the authority's certificate as PEM.
func (a *Authority) CertPEM() []byte { return certPEM(a.cert.Raw) }

// KeyPEM is the authority's private key as PEM (PKCS 8). Treat it as the secret that it is.
func (a *Authority) KeyPEM() ([]byte, error) { return keyPEM(a.key) }

// ClusterID is the id of the cluster the authority was made for.
func (a *Authority) ClusterID() string { return clusterOf(a.cert) }

// Subject is whom a certificate is for.
type Subject struct {
	Name     string
	Instance string        // tells the node from others that had or will have its name; "" is not told
	Life     time.Duration // from now; 0 is DefaultLife
}

// Sign makes the certificate of a node from a certificate request (DER). Only the public key is taken from the
// request: who asks does not choose names or usages.
func (a *Authority) Sign(request []byte, whom Subject, now time.Time) ([]byte, error) {
	req, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, fmt.Errorf("the certificate request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request: %w", err)
	}
	pub, ok := req.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the certificate request: the key must be Ed25519")
	}
	serial := make([]byte, 15)
	if _, err := rand.Read(serial); err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	if whom.Life <= 0 {
		whom.Life = DefaultLife
	}
	until := now.UTC().Add(whom.Life)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	tmpl := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: whom.Name, SerialNumber: whom.Instance, Organization: []string{a.ClusterID()}},
		NotBefore:    now.UTC().Add(-clockSlack),
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{whom.Name, NodeName, BusName, "localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(nil, tmpl, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %s: %w", whom.Name, err)
	}
	return der, nil
}

// Fingerprint is the sha256 of a certificate's DER in lower-case hex: what tokens pin.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// ParseCert reads one PEM certificate.
func ParseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate found")
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("no PEM private key found")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not Ed25519")
	}
	return key, nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func clusterOf(cert *x509.Certificate) string {
	if len(cert.Subject.Organization) == 1 {
		return cert.Subject.Organization[0]
	}
	return ""
}
