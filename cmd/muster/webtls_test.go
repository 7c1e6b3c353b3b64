package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writePair writes a certificate of its own for this machine, and its key.
func writePair(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "PRIVATE KEY", raw)
	return cert, key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// New files are used for new connections; what is no pair is told once, and the pair before goes on.
func TestCertificateIsReadAnew(t *testing.T) {
	dir := t.TempDir()
	cert, key := writePair(t, dir, "first")
	var log bytes.Buffer
	p, err := newCertPair(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	p.now = func() time.Time { return now }
	served := func(after time.Duration) string {
		t.Helper()
		now = now.Add(after)
		client, server := net.Pipe()
		go func() {
			_ = tls.Server(server, p.tlsConfig()).Handshake() // what the client sees of it is looked at
			_ = server.Close()
		}()
		c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		defer client.Close() //nolint:errcheck // a test's
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if name := served(time.Minute); name != "first" {
		t.Errorf("at first %q", name)
	}
	writePair(t, dir, "second")
	if name := served(time.Second); name != "first" {
		t.Errorf("within the pause between two looks: %q", name)
	}
	if name := served(pairCheck); name != "second" || !strings.Contains(log.String(), "CN=second") {
		t.Errorf("new files: %q, %s", name, log.String())
	}
	keep := func(what string, spoil func()) {
		t.Helper()
		log.Reset()
		spoil()
		for range 3 {
			if name := served(pairCheck); name != "second" {
				t.Errorf("%s: %q", what, name)
			}
		}
		if n := strings.Count(log.String(), "is not used"); n != 1 || strings.Contains(log.String(), "PRIVATE KEY") {
			t.Errorf("%s: told %d times: %s", what, n, log.String())
		}
	}
	other := t.TempDir()
	_, otherKey := writePair(t, other, "other")
	b, err := os.ReadFile(otherKey)
	if err != nil {
		t.Fatal(err)
	}
	keep("the key of another certificate", func() { err = os.WriteFile(key, b, 0o600) })
	keep("nonsense", func() { err = os.WriteFile(cert, []byte("nonsense"), 0o600) })
	keep("no file", func() { err = os.Remove(cert) })
	writePair(t, dir, "third")
	if name := served(pairCheck); name != "third" {
		t.Errorf("good files again: %q", name)
	}
}

func TestCertificateAtStart(t *testing.T) {
	dir := t.TempDir()
	cert, key := writePair(t, dir, "x")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--http-cert", cert}, "--http-cert and --http-key go together"},
		{[]string{"--http-key", key}, "--http-cert and --http-key go together"},
		{[]string{"--cors-origins", "https://a.example.org, *"}, `--cors-origins "*": give a scheme and a host each`},
		{[]string{"--cors-origins", "https://a.example.org/x"}, "give a scheme and a host each"},
	} {
		if _, err := loaded(t, "", append([]string{"--name", "n1"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
	if _, err := newCertPair(key, cert, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "no certificate with its key") {
		t.Errorf("the two exchanged: %v", err)
	}
	if _, err := newCertPair(filepath.Join(dir, "absent"), key, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("an absent file: %v", err)
	}
}

func TestClearPasswordsAreWarnedOf(t *testing.T) {
	outside, loop := &net.TCPAddr{IP: net.IPv4zero, Port: 8000}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8000}
	for _, c := range []struct {
		cfg  serverConfig
		at   net.Addr
		want bool
	}{
		{serverConfig{}, outside, true},
		{serverConfig{}, loop, false},
		{serverConfig{webConfig: webConfig{HTTPCert: "c", HTTPKey: "k"}}, outside, false},
		{serverConfig{webConfig: webConfig{PublicURL: "https://m.example.org/api"}}, outside, false},
		{serverConfig{webConfig: webConfig{PublicURL: "http://m.example.org/api"}}, outside, true},
	} {
		if got := c.cfg.clearPasswords(c.at); got != c.want {
			t.Errorf("%+v at %s: %t", c.cfg.webConfig, c.at, got)
		}
	}
}

// A server with a certificate speaks TLS at its port, and the command line reaches it.
func TestServerOverTLS(t *testing.T) {
	cert, key := writePair(t, t.TempDir(), "muster")
	n := newNode(t, "n1", "--http-cert", cert, "--http-key", key).start()
	b, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("no certificate")
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: 10 * time.Second}
	eventually(t, "an answer over TLS", func() bool {
		resp, err := c.Get("https://" + n.http + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if resp, err := http.Get("http://" + n.http + "/readyz"); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("it answers plain HTTP, too")
		}
	}
	if code := n.stop(); code != 0 {
		t.Errorf("it stopped with %d: %s", code, n.stderr.String())
	}
}
