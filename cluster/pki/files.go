package pki

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files of an identity below DATA/pki.
const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
	certFile  = "node.pem"
	keyFile   = "node-key.pem"
	nextFile  = "node-key.pem.next" // the key of a certificate that is about to be written
)

// Save writes the identity into dir, which it makes (0700), in place of one that is there. Cut off at any moment, Load
// finds the old one, the new one, or, where there was none, none: the certificate's file decides.
func (id *Identity) Save(dir string) error {
	key, err := keyPEM(id.key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder for certificates: %w", err)
	}
	if err := writeFile(dir, nextFile, key); err != nil {
		return err
	}
	if err := writeFile(dir, caFile, certPEM(id.CA.Raw)); err != nil {
		return err
	}
	if err := writeFile(dir, certFile, certPEM(id.cert.Raw)); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, nextFile), filepath.Join(dir, keyFile)); err != nil {
		return fmt.Errorf("writing %s: %w", keyFile, err)
	}
	return nil
}

// Load reads what Save wrote; ErrNone when there is none.
func Load(dir string) (*Identity, error) {
	certText, err := os.ReadFile(filepath.Join(dir, certFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading the node's certificate: %w", err)
	}
	caText, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	cert, err := ParseCert(certText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	ca, err := ParseCert(caText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caFile, err)
	}
	if err := errors.Join(ca.CheckSignatureFrom(ca), cert.CheckSignatureFrom(ca)); err != nil { // else no other node would talk to this one
		return nil, fmt.Errorf("%s and %s are damaged, or not of one cluster: %w", certFile, caFile, err)
	}
	if key, err := loadKey(dir, nextFile); err == nil { // Save may have been cut off before its last step
		if id, err := newIdentity(cert, key, ca); err == nil {
			return id, nil
		}
	}
	key, err := loadKey(dir, keyFile)
	if err != nil {
		return nil, err
	}
	return newIdentity(cert, key, ca)
}

func loadKey(dir, name string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("reading the node's key: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}

// Save writes the authority with its key into dir: the first node's copy.
func (a *Authority) Save(dir string) error {
	key, err := a.KeyPEM()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder for certificates: %w", err)
	}
	if err := writeFile(dir, caKeyFile, key); err != nil {
		return err
	}
	return writeFile(dir, caFile, a.CertPEM())
}

// LoadAuthority reads the authority with its key from dir; ErrNone when the key is not there.
func LoadAuthority(dir string) (*Authority, error) {
	key, err := os.ReadFile(filepath.Join(dir, caKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key: %w", err)
	}
	cert, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	return ParseAuthority(cert, key)
}

// writeFile writes so that a crash leaves the old file or the new one.
func writeFile(dir, name string, data []byte) error {
	f, err := os.CreateTemp(dir, "."+name+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
