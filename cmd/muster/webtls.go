package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// pairCheck is how often the files of a certificate are looked at, at most.
const pairCheck = 5 * time.Second

// certPair is a certificate and its key in files, which are read anew when they change: new connections get the new pair,
// and while the files are no pair, the one before. It is safe for concurrent use.
type certPair struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu     sync.Mutex
	looked time.Time
	digest [sha256.Size]byte // of the files when they were looked at
	pair   *tls.Certificate
}

// newCertPair reads a pair that must be good.
func newCertPair(certFile, keyFile string, log *slog.Logger) (*certPair, error) {
	p := &certPair{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	pair, digest, err := p.read()
	if err != nil {
		return nil, fmt.Errorf("--http-cert and --http-key: %w", err)
	}
	p.pair, p.digest, p.looked = pair, digest, p.now()
	return p, nil
}

// read reads the files. The digest is that of what they hold, also when that is no pair.
func (p *certPair) read() (*tls.Certificate, [sha256.Size]byte, error) {
	cert, certErr := os.ReadFile(p.certFile)
	key, keyErr := os.ReadFile(p.keyFile)
	digest := sha256.Sum256(bytes.Join([][]byte{cert, key}, []byte{0}))
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, digest, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil { // it names neither file, and tells nothing of the key
		return nil, digest, fmt.Errorf("%s and %s are no certificate with its key: %w", p.certFile, p.keyFile, err)
	}
	return &pair, digest, nil
}

// certificate is the pair for a connection, as the files are now.
func (p *certPair) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now().Sub(p.looked) < pairCheck {
		return p.pair, nil
	}
	p.looked = p.now()
	pair, digest, err := p.read()
	if digest == p.digest {
		return p.pair, nil
	}
	p.digest = digest // told once, until they change again
	if err != nil {
		p.log.Error("the new certificate of the REST API is not used; the one before goes on", "error", err)
		return p.pair, nil
	}
	p.pair = pair
	p.log.Info("the REST API has a new certificate", "subject", pair.Leaf.Subject.String(), "ends", pair.Leaf.NotAfter)
	return p.pair, nil
}

// tlsConfig is how the REST API speaks TLS.
func (p *certPair) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.certificate}
}

// webPair reads the certificate of the REST API; nil when it speaks plain HTTP.
func (c serverConfig) webPair(log *slog.Logger) (*certPair, error) {
	if c.HTTPCert == "" {
		return nil, nil
	}
	return newCertPair(c.HTTPCert, c.HTTPKey, log)
}

// clearPasswords tells whether passwords may cross a network readable to all: the REST API speaks plain HTTP at an address
// that others reach, and nothing says that TLS ends before it.
func (c serverConfig) clearPasswords(at net.Addr) bool {
	return c.HTTPCert == "" && !strings.HasPrefix(c.PublicURL, "https://") && !isLoopback(at.String())
}
