package api_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
)

// withProvider is a site at which people log in by a provider.
func withProvider(t *testing.T, issuer string, register bool) *site {
	t.Helper()
	p, err := auth.NewProvider(auth.ProviderConfig{Issuer: issuer, ClientID: "muster", ClientSecret: providerSecret, Scopes: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	local, err := auth.ParseProxies([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return newSite(t, func(c *api.Config) {
		c.Login.Proxies = local
		c.Login.PublicURL, c.Login.OIDC, c.Login.OIDCRegister = redirectBase, p, register
	})
}

// browser keeps the cookies of one person.
type browser struct {
	s       *site
	cookies map[string]string
	address string // of its own, so that the failures of one do not slow the others
}

func (s *site) browser() *browser {
	s.browsers++
	return &browser{s, map[string]string{}, fmt.Sprintf("203.0.113.%d", s.browsers)}
}

func (b *browser) send(method, path, body string) answer {
	var all []string
	for name, value := range b.cookies {
		all = append(all, name+"="+value)
	}
	a := b.s.raw(method, path, body, "Authorization", "", "Cookie", strings.Join(all, "; "), "Sec-Fetch-Site", "same-origin", "X-Forwarded-For", b.address)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		b.cookies[c.Name] = c.Value
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			b.s.t.Errorf("a cookie that scripts read or other pages make send: %+v", c)
		}
	}
	return a
}

// begin goes to the provider.
func (b *browser) begin(back string) (address string) {
	b.s.t.Helper()
	a := b.send("GET", "/login/oidc?return="+url.QueryEscape(back), "")
	if a.status != http.StatusFound || a.header.Get("Location") == "" {
		b.s.t.Fatalf("begin to log in: %d %s", a.status, a.body)
	}
	return a.header.Get("Location")
}

func (b *browser) back(q url.Values) answer {
	return b.send("GET", "/login/oidc/callback?"+q.Encode(), "")
}

func (b *browser) name() string {
	var doc struct{ Username, Email string }
	a := b.send("GET", "/account", "")
	_ = json.Unmarshal([]byte(a.body), &doc)
	return doc.Username
}

// People log in at a real provider: who has no account gets one or is told, and an account that is there is linked by
// its owner alone, whatever the provider says of names and addresses.
func TestLoginAtProvider(t *testing.T) {
	g := newGlewlwyd(t, "anna", "ben")
	s := withProvider(t, g.issuer, true).furnish()

	b := s.browser()
	a := b.back(g.approve("anna", b.begin("/hosts?x=1")))
	if a.status != http.StatusFound || a.header.Get("Location") != "/hosts?x=1" || b.name() != "anna" {
		t.Fatalf("a new person: %d %s %q, logged in as %q", a.status, a.body, a.header.Get("Location"), b.name())
	}
	if again := s.browser(); again.back(g.approve("anna", again.begin(""))).status != http.StatusFound || again.name() != "anna" {
		t.Error("the same person logs in again as somebody else")
	}
	if a := s.raw("GET", "/account", "", "Authorization", basicAuth("anna", "")); a.status != 401 {
		t.Errorf("an account without a password takes an empty one: %d", a.status)
	}
	var list struct {
		Items []struct{ UUID, Issuer, Subject string }
	}
	_ = json.Unmarshal([]byte(b.send("GET", "/account/identities/", "").body), &list)
	if len(list.Items) != 1 || list.Items[0].Issuer != g.issuer || list.Items[0].Subject == "" {
		t.Fatalf("identities %+v", list)
	}
	if a := b.send("DELETE", "/account/identities/"+list.Items[0].UUID, ""); a.status != 409 || !strings.Contains(a.errors(t), "set a password first") {
		t.Errorf("unlink the only way in: %d %s", a.status, a.body)
	}

	// Ben has an account here. The provider's word gives nobody into it.
	s.user("ben", "users", "acme")
	b = s.browser()
	if a := b.back(g.approve("ben", b.begin("/"))); a.status != 409 || b.name() != "" || !strings.Contains(a.errors(t), "link this login") {
		t.Fatalf("a name that is taken: %d %s as %q", a.status, a.body, b.name())
	}
	if a := s.raw("POST", "/account/sessions/", `{"cookie": true}`, "Authorization", basicAuth("ben", "ben-password")); a.status == 201 {
		for _, c := range (&http.Response{Header: a.header}).Cookies() {
			b.cookies[c.Name] = c.Value
		}
	}
	link := b.send("POST", "/account/identities/", `{"return": "/me"}`)
	var doc struct{ Address string }
	if err := json.Unmarshal([]byte(link.body), &doc); err != nil || link.status != 200 {
		t.Fatalf("begin to link: %d %s", link.status, link.body)
	}
	if a := b.back(g.approve("ben", doc.Address)); a.status != http.StatusFound || a.header.Get("Location") != "/me" {
		t.Fatalf("link: %d %s", a.status, a.body)
	}
	if b = s.browser(); b.back(g.approve("ben", b.begin("/"))).status != http.StatusFound || b.name() != "ben" {
		t.Error("after linking the login is not Ben's")
	}
	// Second factors are the provider's there: one-time codes go with passwords.
	s.totp("ben")
	if b = s.browser(); b.back(g.approve("ben", b.begin("/"))).status != http.StatusFound || b.name() != "ben" {
		t.Error("with one-time codes turned on Ben does not get in by the provider")
	}
	if a := s.raw("GET", "/account", "", "Authorization", basicAuth("ben", "ben-password")); a.status != 401 {
		t.Errorf("with one-time codes turned on the password alone: %d", a.status)
	}
	if strings.Contains(s.log.String(), providerSecret) {
		t.Error("the secret at the provider is in the log")
	}
	// A link ends with the session that asked for it, and a linked login is nobody else's.
	anna := s.browser()
	anna.back(g.approve("anna", anna.begin("/")))
	link = anna.send("POST", "/account/identities/", `{}`)
	_ = json.Unmarshal([]byte(link.body), &doc)
	if a := anna.back(g.approve("ben", doc.Address)); a.status != 409 || !strings.Contains(a.errors(t), "another user's") {
		t.Errorf("link what is Ben's: %d %s", a.status, a.body)
	}
	link = anna.send("POST", "/account/identities/", `{}`)
	_ = json.Unmarshal([]byte(link.body), &doc)
	anna.send("DELETE", "/account/sessions/current", "")
	if a := anna.back(g.approve("ben", doc.Address)); a.status != 401 {
		t.Errorf("link after logging out: %d %s", a.status, a.body)
	}
	strangersAtProvider(t, g)
}

// strangersAtProvider tries what a login must not take, at a site that gives nobody an account.
func strangersAtProvider(t *testing.T, g *glewlwyd) {
	s := withProvider(t, g.issuer, false)
	b := s.browser()
	if a := b.back(g.approve("anna", b.begin("/"))); a.status != 403 || b.name() != "" {
		t.Errorf("no account: %d %s", a.status, a.body)
	}
	// An administrator links the subject that the provider has for her.
	id := s.raw("POST", "/users/admin/identities/", fmt.Sprintf(`{"issuer": %q, "subject": "nobody"}`, g.issuer))
	if id.status != 201 {
		t.Errorf("an administrator links: %d %s", id.status, id.body)
	}
	if a := s.raw("POST", "/users/admin/identities/", `{"issuer": "", "subject": "x"}`); a.status != 400 {
		t.Errorf("no issuer: %d %s", a.status, a.body)
	}
	victim, attacker := s.browser(), s.browser()
	victim.begin("/")
	q := g.approve("anna", attacker.begin("/"))
	for what, try := range map[string]func() answer{
		"a code of another browser's login": func() answer { return victim.back(q) },
		"no cookie":                         func() answer { return s.browser().back(q) },
		"another state":                     func() answer { return attacker.back(url.Values{"code": q["code"], "state": {"x"}}) },
		"no code":                           func() answer { return attacker.back(url.Values{"state": q["state"]}) },
		"a code of nobody":                  func() answer { return attacker.back(url.Values{"code": {"x"}, "state": q["state"]}) },
		"refused":                           func() answer { return attacker.back(url.Values{"error": {"access_denied"}, "state": q["state"]}) },
	} {
		if a := try(); a.status != 401 {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		attacker.address = s.browser().address
	}
	for _, back := range []string{"//evil.example", "https://evil.example", `/\evil.example`, "/a\r\nSet-Cookie: x=y", "/" + strings.Repeat("x", 600)} {
		if a := b.send("GET", "/login/oidc?return="+url.QueryEscape(back), ""); a.status != 400 {
			t.Errorf("return to %q: %d", back, a.status)
		}
	}
	if a := newSite(t).raw("GET", "/login/oidc", "", "Authorization", ""); a.status != 404 {
		t.Errorf("without a provider: %d %s", a.status, a.body)
	}
	gone := withProvider(t, "http://127.0.0.1:1/none", false)
	if a := gone.raw("GET", "/login/oidc", "", "Authorization", ""); a.status != 503 || !strings.Contains(a.errors(t), "your password") {
		t.Errorf("a provider that is away: %d %s", a.status, a.body)
	}
}

// A provider whose tokens are not what they should be lets nobody in. The real one cannot be made to do these.
func TestTokensOfAProvider(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var issuer, nonce string
	var token func(claims jwt.MapClaims) string
	mux := http.NewServeMux()
	write := func(w http.ResponseWriter, doc any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(doc)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]any{"issuer": issuer, "authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token", "jwks_uri": issuer + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		e := []byte{1, 0, 1}
		write(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256",
			"n": b64(key.N.Bytes()), "e": b64(e)}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now()
		text := token(jwt.MapClaims{"iss": issuer, "aud": "muster", "sub": "7", "nonce": nonce, "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "preferred_username": "carl"})
		write(w, map[string]any{"access_token": "x", "token_type": "bearer", "id_token": text})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	issuer = server.URL
	s := withProvider(t, issuer, true)
	sign := func(c jwt.MapClaims) string {
		j := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
		j.Header["kid"] = "k"
		text, err := j.SignedString(key)
		if err != nil {
			t.Error(err)
		}
		return text
	}
	with := func(name string, value any) func(jwt.MapClaims) string {
		return func(c jwt.MapClaims) string { c[name] = value; return sign(c) }
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	login := func(f func(jwt.MapClaims) string) (answer, *browser) {
		b := s.browser()
		address, err := url.Parse(b.begin("/"))
		if err != nil {
			t.Fatal(err)
		}
		nonce, token = address.Query().Get("nonce"), f
		if address.Query().Get("code_challenge_method") != "S256" || nonce == "" {
			t.Errorf("asked without PKCE or nonce: %s", address)
		}
		return b.back(url.Values{"code": {"c"}, "state": {address.Query().Get("state")}}), b
	}
	for what, f := range map[string]func(jwt.MapClaims) string{
		"another nonce":    with("nonce", "x"),
		"no nonce":         with("nonce", ""),
		"another issuer":   with("iss", "https://evil.example"),
		"another audience": with("aud", "somebody"),
		"another party":    func(c jwt.MapClaims) string { c["aud"], c["azp"] = []string{"muster", "evil"}, "evil"; return sign(c) },
		"expired":          with("exp", time.Now().Add(-time.Hour).Unix()),
		"not signed": func(c jwt.MapClaims) string {
			text, _ := jwt.NewWithClaims(jwt.SigningMethodNone, c).SignedString(jwt.UnsafeAllowNoneSignatureType)
			return text
		},
		"signed with the client's secret": func(c jwt.MapClaims) string {
			text, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(providerSecret))
			return text
		},
		"signed with another key": func(c jwt.MapClaims) string {
			j := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
			j.Header["kid"] = "k"
			text, _ := j.SignedString(other)
			return text
		},
		"garbage": func(jwt.MapClaims) string { return "a.b.c" },
	} {
		if a, b := login(f); a.status != 401 || b.name() != "" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	for what, f := range map[string]func(jwt.MapClaims) string{
		"none": func(jwt.MapClaims) string { return "" },
		"huge": func(jwt.MapClaims) string { return strings.Repeat("x", 4<<20) },
	} {
		if a, b := login(f); a.status < 400 || b.name() != "" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	if a, b := login(sign); a.status != http.StatusFound || b.name() != "carl" {
		t.Errorf("a good one: %d %s", a.status, a.body)
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
