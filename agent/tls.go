package agent

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/muster-hq/muster/dispatch/bus"
)

// pin verifies the bus of a newcomer, who knows of its CA only the digest that the token names.
type pin struct {
	digest string // SHA-256 of the CA's DER, hexadecimal
	mu     sync.Mutex
	ca     *x509.Certificate // the CA that was verified
}

// config returns the TLS settings: the chain must lead to the pinned CA, which the bus presents, and
// its certificate must be for the bus's fixed name, whatever address or load balancer was dialled.
func (p *pin) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         bus.ServerName,
		InsecureSkipVerify: true, // VerifyConnection does it: the root is not known yet, only its digest
		VerifyConnection:   p.verify,
	}
}

func (p *pin) verify(cs tls.ConnectionState) error {
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	var ca *x509.Certificate
	for _, c := range cs.PeerCertificates[1:] {
		if sum := sha256.Sum256(c.Raw); hex.EncodeToString(sum[:]) == p.digest {
			ca = c
			roots.AddCert(c)
		} else {
			others.AddCert(c)
		}
	}
	if ca == nil {
		return errors.New("the bus does not show the CA that the token pins: the token is of another cluster, or somebody is in between")
	}
	opts := x509.VerifyOptions{DNSName: bus.ServerName, Roots: roots, Intermediates: others}
	if _, err := cs.PeerCertificates[0].Verify(opts); err != nil {
		return fmt.Errorf("verify the bus: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ca = ca
	return nil
}

// pem returns the verified CA, nil when there was none.
func (p *pin) pem() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ca == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.ca.Raw})
}

// memberTLS returns the TLS settings of a member: the kept CA alone, or the system's where none was
// pinned (nil).
func memberTLS(dir string, id Identity) (*tls.Config, error) {
	if !id.PinnedCA {
		return nil, nil
	}
	path := filepath.Join(dir, caFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the bus's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate: remove the state directory and enrol this machine again", path)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, ServerName: bus.ServerName, RootCAs: roots}, nil
}
