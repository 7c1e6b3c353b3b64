package pki_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster/pki"
)

func TestIdentityIsSavedPrivately(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := pki.Load(dir); !errors.Is(err, pki.ErrNone) {
		t.Fatalf("Load of an empty folder: %v, want ErrNone", err)
	}
	ca, id := newCluster(t, "c1", "alfa")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 {
		t.Errorf("%d files, want certificate, key, authority, authority's key", len(files))
	}
	for _, f := range files {
		if info, _ := f.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
	got, err := pki.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Node != "alfa" || got.ClusterID != "c1" || got.Fingerprint() != pki.Fingerprint(ca.Cert().Raw) {
		t.Errorf("loaded %+v", got)
	}
	ca2, err := pki.LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca2.Issue(pki.Subject{Name: "bravo"}, time.Now()); err != nil {
		t.Errorf("the loaded authority cannot sign: %v", err)
	}
}

func TestWhoAsksDoesNotChooseTheName(t *testing.T) {
	ca, _ := newCluster(t, "c1", "alfa")
	req, err := pki.NewRequest("alfa")
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.Sign(req.CSR, pki.Subject{Name: "mallory"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id, err := req.Identity(der, ca.Cert())
	if err != nil {
		t.Fatal(err)
	}
	if id.Node != "mallory" {
		t.Errorf("signed for %q", id.Node)
	}
	other, _ := newCluster(t, "c2", "x")
	if _, err := req.Identity(der, other.Cert()); err == nil {
		t.Error("a certificate of another authority was taken")
	}
	if _, err := ca.Sign([]byte("no request"), pki.Subject{Name: "alfa"}, time.Now()); err == nil {
		t.Error("garbage was signed")
	}
}

func TestSameSecretSameCluster(t *testing.T) {
	a, err := pki.Derive([]byte("0123456789abcdef\n"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := pki.Derive([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if a.ClusterID != b.ClusterID || !bytes.Equal(a.GossipKey, b.GossipKey) || !a.Authority.Cert().Equal(b.Authority.Cert()) {
		t.Error("two nodes derived different clusters from one secret")
	}
	c, err := pki.Derive([]byte("0123456789abcdeg"))
	if err != nil {
		t.Fatal(err)
	}
	if a.ClusterID == c.ClusterID || a.Authority.Cert().Equal(c.Authority.Cert()) {
		t.Error("another secret gave the same cluster")
	}
	if _, err := pki.Derive([]byte("short")); err == nil || !strings.Contains(err.Error(), "16") {
		t.Errorf("short secret: %v", err)
	}
}

func TestPinning(t *testing.T) {
	ca, id := newCluster(t, "c1", "alfa")
	_, foreign := newCluster(t, "c2", "alfa")
	shake := func(server *pki.Identity, fingerprint string) error {
		a, b := net.Pipe()
		defer func() { _ = a.Close(); _ = b.Close() }()
		go func() { _ = tls.Server(b, server.ServerTLS()).Handshake() }()
		return tls.Client(a, pki.PinnedTLS(fingerprint, pki.BusName)).Handshake()
	}
	pin := pki.Fingerprint(ca.Cert().Raw)
	if err := shake(id, pin); err != nil {
		t.Errorf("the right authority: %v", err)
	}
	if err := shake(foreign, pin); err == nil || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("a foreign authority: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	ca, err := pki.NewAuthority("c1", time.Now())
	if err != nil {
		f.Fatal(err)
	}
	key, _ := ca.KeyPEM()
	f.Add(ca.CertPEM(), key)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte{})
	f.Fuzz(func(_ *testing.T, cert, key []byte) {
		_, _ = pki.ParseAuthority(cert, key)
		_, _ = ca.Sign(cert, pki.Subject{Name: "x"}, time.Unix(0, 0))
	})
}

func newCluster(t *testing.T, cluster, node string) (*pki.Authority, *pki.Identity) {
	t.Helper()
	ca, err := pki.NewAuthority(cluster, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue(pki.Subject{Name: node}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca, id
}

// A renewal that is cut off leaves the old identity or the new one.
func TestSaveIsCutOff(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	ca, id := newCluster(t, "c1", "alfa")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "node-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	next, err := ca.Issue(pki.Subject{Name: "alfa", Instance: "i", Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Save(dir); err != nil {
		t.Fatal(err)
	}
	// As if the last step, the key's new name, had not come.
	after, err := os.ReadFile(filepath.Join(dir, "node-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"node-key.pem": before, "node-key.pem.next": after} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := pki.Load(dir)
	if err != nil || got.Instance != "i" || !got.Expires().Equal(next.Expires()) {
		t.Errorf("loaded %+v, %v", got, err)
	}
	// As if only the next key had been written.
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "node-key.pem.next"), after, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err = pki.Load(dir); err != nil || got.Instance != "" {
		t.Errorf("loaded %+v, %v", got, err)
	}
	if id.Renewable(time.Now()) != true || next.Renewable(time.Now()) || !next.Renewable(time.Now().Add(41*time.Minute)) {
		t.Error("renewable at the wrong time")
	}
}
