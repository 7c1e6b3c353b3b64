package api_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/internal/freeport"
)

// glewlwyd is a real OpenID provider: Debian's package, with a data base of its own in a scratch folder.
type glewlwyd struct {
	t      *testing.T
	root   string // of its API
	issuer string
}

const (
	providerSecret = "secret-of-muster-at-the-provider"
	redirectBase   = "http://muster.example.org/api"
)

// newGlewlwyd starts a provider that knows muster as a client, and the people who are named.
func newGlewlwyd(t *testing.T, people ...string) *glewlwyd {
	t.Helper()
	const schema = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3"
	if _, err := exec.LookPath("glewlwyd"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("an OpenID provider: %v", err)
		}
		t.Skipf("an OpenID provider (Debian's glewlwyd and sqlite3): %v", err)
	}
	dir := t.TempDir()
	load := exec.Command("sqlite3", filepath.Join(dir, "db"), ".read "+schema)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("the provider's data base: %v: %s", err, out)
	}
	ports, err := freeport.Take("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	port := ports[0]
	g := &glewlwyd{t: t, root: fmt.Sprintf("http://127.0.0.1:%d/api", port)}
	g.issuer = g.root + "/oidc"
	conf := filepath.Join(dir, "conf")
	text := fmt.Sprintf(`port=%d
bind_address="127.0.0.1"
external_url="http://127.0.0.1:%d"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="WARNING"
cookie_secure=0
session_key="S"
admin_session_authentication="cookie"
profile_session_authentication="cookie"
allow_multiple_user_per_session=true
login_api_enabled=true
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
hash_algorithm="SHA512"
database =
{
type="sqlite3"
path="%s/db"
};
`, port, port, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command("glewlwyd", "-c", conf)
	var said bytes.Buffer
	server.Stdout, server.Stderr = &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Logf("the provider says: %s", said.String())
		}
	})
	admin := g.login("admin", "password")
	g.send(admin, "POST", "/mod/plugin/", g.plugin())
	g.send(admin, "POST", "/client/", map[string]any{
		"client_id": "muster", "name": "Muster", "enabled": true, "confidential": true, "password": providerSecret,
		"redirect_uri": []string{redirectBase + "/login/oidc/callback"}, "authorization_type": []string{"code"},
		"token_endpoint_auth_method": []string{"client_secret_basic"}, "scope": []string{"openid"}, "sector_identifier_uri": "",
	})
	for _, name := range people {
		g.send(admin, "POST", "/user/", map[string]any{
			"username": name, "name": "Full " + name, "email": name + "@example.org", "password": name + "-at-provider", "enabled": true,
			"scope": []string{"openid", "g_profile"},
		})
	}
	return g
}

// plugin is what the provider needs to speak OpenID Connect.
func (g *glewlwyd) plugin() map[string]any {
	g.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		g.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		g.t.Fatal(err)
	}
	return map[string]any{"module": "oidc", "name": "oidc", "display_name": "oidc", "enabled": true, "parameters": map[string]any{
		"iss": g.issuer, "jwt-type": "rsa", "jwt-key-size": "256",
		"key":                   string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		"cert":                  string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"access-token-duration": 3600, "refresh-token-duration": 3600, "code-duration": 600, "refresh-token-rolling": false,
		"allow-non-oidc": false, "auth-type-code-enabled": true, "auth-type-token-enabled": false, "auth-type-id-token-enabled": true,
		"auth-type-password-enabled": false, "auth-type-client-enabled": false, "auth-type-refresh-enabled": false,
		"auth-type-none-enabled": false, "auth-type-device-enabled": false, "subject-type": "public",
		"pkce-allowed": true, "pkce-method-plain-allowed": false, "pkce-required": true, "jwks-show": true,
		"request-parameter-allow": false, "encrypt-out-token-allow": false, "name-claim": "mandatory", "email-claim": "mandatory",
		"claims": []any{map[string]any{"name": "preferred_username", "user-property": "username", "type": "string", "mandatory": true}},
	}}
}

// send sends a document as who is logged in in jar.
func (g *glewlwyd) send(c *http.Client, method, path string, doc any) {
	g.t.Helper()
	if err := g.try(c, method, path, doc); err != nil {
		g.t.Fatalf("the provider: %s %s: %v", method, path, err)
	}
}

func (g *glewlwyd) try(c *http.Client, method, path string, doc any) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, g.root+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil
}

// login is a browser that is logged in at the provider.
func (g *glewlwyd) login(user, password string) *http.Client {
	g.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	c := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	poll(g.t, "the provider answers", func() bool {
		err = g.try(c, "POST", "/auth/", map[string]string{"username": user, "password": password})
		return err == nil || !strings.Contains(err.Error(), "refused")
	})
	if err != nil {
		g.t.Fatalf("log in at the provider as %s: %v", user, err)
	}
	return c
}

// approve follows an address as a person does who logs in and allows what is asked, and gives the query that the
// provider sends the browser back with.
func (g *glewlwyd) approve(user, address string) url.Values {
	g.t.Helper()
	c := g.login(user, user+"-at-provider")
	g.send(c, "PUT", "/auth/grant/muster", map[string]string{"scope": "openid"})
	resp, err := c.Get(address + "&g_continue")
	if err != nil {
		g.t.Fatal(err)
	}
	resp.Body.Close() //nolint:errcheck // empty
	back, err := resp.Location()
	if err != nil || !strings.HasPrefix(back.String(), redirectBase+"/login/oidc/callback?") {
		g.t.Fatalf("the provider sends the browser to %v: %v", back, err)
	}
	return back.Query()
}

// poll waits for a named condition.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !done(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
