package api_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// handClock is a clock that a test sets. What a server writes down beside its answers reads it meanwhile.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func (c *handClock) add(d time.Duration) { c.set(c.read().Add(d)) }

// clock sets the leader's time by hand.
func (s *site) clock() *handClock {
	c := &handClock{now: time.Now()}
	s.db.SetClock(c.read)
	return c
}

// tick lets the state's time go on.
func (s *site) tick() {
	s.update(func(tx *state.Tx) error { return state.Put(tx, &model.LastUseRow{ID: "tick", Time: tx.Now()}) })
}

// code is a one-time code of a user at the state's time plus so many steps.
func (s *site) code(user string, steps int) string {
	s.t.Helper()
	u, err := orchestrate.UserByName(s.db.Local(), user)
	if err != nil {
		s.t.Fatal(err)
	}
	row, ok := state.Get[model.TOTPRow](s.db.Local(), u.ID)
	if !ok {
		s.t.Fatalf("%s has no one-time codes", user)
	}
	at := s.db.Local().Now().Add(time.Duration(steps) * 30 * time.Second)
	// RFC 4226 section 5.3 over the steps of RFC 6238, written anew: a test of the server's with the server's own code would find nothing.
	mac := hmac.New(sha1.New, row.Secret)
	_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&0xf:]) & 0x7fffffff % 1_000_000
	return fmt.Sprintf("%06d", n)
}

// totp turns one-time codes on for a user.
func (s *site) totp(user string) {
	s.t.Helper()
	with := []string{"Authorization", basicAuth(user, user+"-password")}
	if a := s.raw("POST", "/account/totp", "", with...); a.status != 200 || !strings.Contains(a.body, "otpauth://totp/Muster:"+user) {
		s.t.Fatalf("begin: %d %s", a.status, a.body)
	}
	if a := s.raw("PUT", "/account/totp/_confirm", `{"code": "`+s.code(user, 0)+`"}`, with...); a.status != 200 {
		s.t.Fatalf("confirm: %d %s", a.status, a.body)
	}
}

// The published client with one-time codes (contract section 1.2): a code gives a JWT, which is sent from then on; one
// that is refused is renewed; and each request of a later run asks first whether the JWT still holds.
func TestPublishedCodes(t *testing.T) {
	s := newSite(t).furnish()
	now := s.clock()
	s.user("anna", "users", "acme")
	s.totp("anna")
	basic := basicAuth("anna", "anna-password")
	if a := s.raw("GET", "/organizations/acme", "", "Authorization", basic); a.status != 401 || !strings.Contains(a.errors(t), "one-time code is needed") {
		t.Fatalf("the password alone: %d %s", a.status, a.body)
	}
	verify := func(code string) answer {
		return s.raw("GET", "/account/_verify", "", "Authorization", basic, "X-Comodit-Totptoken", code)
	}
	if a := verify("000000"); a.status != 401 {
		t.Errorf("a wrong code: %d %s", a.status, a.body)
	}
	now.add(30 * time.Second)
	s.tick()
	code := s.code("anna", 0)
	a := verify(code)
	var got struct {
		JWT string `json:"jwtToken"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); a.status != 200 || err != nil || got.JWT == "" {
		t.Fatalf("a right code: %d %s", a.status, a.body)
	}
	if a := verify(code); a.status != 401 {
		t.Errorf("the same code again: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/organizations/acme", "", "Authorization", basic, "X-Comodit-Totptoken", s.code("anna", 1)); a.status != 401 {
		t.Errorf("a code where none is taken: %d %s", a.status, a.body)
	}
	jwt := []string{"Authorization", "", "X-Comodit-Jwttoken", got.JWT}
	for _, path := range []string{"/account/_verify", "/organizations/acme"} {
		if a := s.raw("GET", path, "", jwt...); a.status != 200 {
			t.Errorf("%s with the JWT: %d %s", path, a.status, a.body)
		}
	}
	if a := s.raw("PUT", "/organizations/acme/environments/Dev", `{"description": "by JWT"}`, jwt...); a.status != 200 {
		t.Errorf("a write with the JWT: %d %s", a.status, a.body)
	}
	now.add(13 * time.Hour)
	s.tick()
	for _, path := range []string{"/account/_verify", "/organizations/acme"} {
		if a := s.raw("GET", path, "", jwt...); a.status != 401 {
			t.Errorf("%s with a JWT that is over: %d %s", path, a.status, a.body)
		}
	}
	if a := verify(s.code("anna", 0)); a.status != 200 {
		t.Errorf("a new JWT: %d %s", a.status, a.body)
	}
	for _, bad := range []string{"x", got.JWT + "x", strings.Repeat("x", 5000), "eyJhbGciOiJub25lIn0.eyJqdGkiOiJ4In0."} {
		if a := s.raw("GET", "/account/_verify", "", "Authorization", "", "X-Comodit-Jwttoken", bad); a.status != 401 {
			t.Errorf("the JWT %.20q: %d %s", bad, a.status, a.body)
		}
	}
	if log := s.log.String(); strings.Contains(log, got.JWT) || strings.Contains(log, code) {
		t.Error("the log holds a JWT or a code")
	}
}

func TestCodesEnd(t *testing.T) {
	s := newSite(t)
	now := s.clock()
	s.user("anna", "", "")
	s.totp("anna")
	now.add(30 * time.Second)
	s.tick()
	token := s.login("anna", "X-ComodIT-TotpToken", s.code("anna", 0))
	if a := s.raw("DELETE", "/account/totp", "", "Authorization", "", "X-ComodIT-JwtToken", token); a.status != 403 {
		t.Errorf("without a code: %d %s", a.status, a.body)
	}
	now.add(30 * time.Second)
	s.tick()
	if a := s.raw("DELETE", "/account/totp", "", "Authorization", "", "X-ComodIT-JwtToken", token, "X-ComodIT-TotpToken", s.code("anna", 0)); a.status != 204 {
		t.Errorf("with a code: %d %s", a.status, a.body)
	}
	s.totp("anna")
	if a := s.raw("DELETE", "/users/anna/totp", ""); a.status != 204 {
		t.Errorf("by an administrator: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/account", "", "Authorization", basicAuth("anna", "anna-password")); a.status != 200 || !strings.Contains(a.body, `"totp":false`) {
		t.Errorf("the password alone: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/account/_verify", "", "Authorization", basicAuth("anna", "anna-password"), "X-ComodIT-TotpToken", "123456"); a.status != 401 {
		t.Errorf("a code without codes: %d %s", a.status, a.body)
	}
}

// login begins a session and gives its token.
func (s *site) login(user string, headers ...string) string {
	s.t.Helper()
	a := s.raw("POST", "/account/sessions/", `{"description": "a test"}`, append([]string{"Authorization", basicAuth(user, user+"-password")}, headers...)...)
	var got model.Session
	if err := json.Unmarshal([]byte(a.body), &got); a.status != 201 || err != nil || got.Token == "" {
		s.t.Fatalf("log in: %d %s", a.status, a.body)
	}
	return got.Token
}

func TestSessionsAreListedAndRevoked(t *testing.T) {
	s := newSite(t).furnish()
	s.user("anna", "users", "acme")
	s.user("ben", "users", "acme")
	one, two, other := s.login("anna"), s.login("anna"), s.login("ben")
	with := func(token string) []string { return []string{"Authorization", "", "X-ComodIT-JwtToken", token} }
	var l struct{ Items []model.Session }
	a := s.raw("GET", "/account/sessions/", "", with(one)...)
	if err := json.Unmarshal([]byte(a.body), &l); err != nil || len(l.Items) != 2 || strings.Contains(a.body, `"token"`) {
		t.Fatalf("sessions: %d %s", a.status, a.body)
	}
	current := l.Items[0]
	if l.Items[1].Current {
		current = l.Items[1]
	}
	if !current.Current || current.Address != "127.0.0.1" || current.Description != "a test" {
		t.Errorf("the current one: %+v", current)
	}
	if a := s.raw("DELETE", "/account/sessions/"+current.UUID, "", with(other)...); a.status != 404 {
		t.Errorf("another user's session: %d %s", a.status, a.body)
	}
	if a := s.raw("POST", "/account/sessions/", `{}`, with(one)...); a.status != 403 {
		t.Errorf("a session out of a session: %d %s", a.status, a.body)
	}
	if a := s.raw("DELETE", "/account/sessions/"+current.UUID, "", with(two)...); a.status != 204 {
		t.Errorf("revoke: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/organizations/acme", "", with(one)...); a.status != 401 {
		t.Errorf("a revoked session: %d %s", a.status, a.body)
	}
	if a := s.raw("DELETE", "/account/sessions/current", "", with(two)...); a.status != 204 {
		t.Errorf("log out: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/organizations/acme", "", with(two)...); a.status != 401 {
		t.Errorf("after logging out: %d %s", a.status, a.body)
	}
	three := s.login("anna")
	if a := s.raw("PUT", "/users/anna/password", `{"password": "another one"}`, with(three)...); a.status != 403 {
		t.Errorf("another password in a session, without the old one: %d %s", a.status, a.body)
	}
	if a := s.raw("PUT", "/users/anna/password", `{"password": "another one", "current": "anna-password"}`, with(three)...); a.status != 200 {
		t.Errorf("another password: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/organizations/acme", "", with(three)...); a.status != 401 {
		t.Errorf("a session from before the password: %d %s", a.status, a.body)
	}
	if a := s.raw("DELETE", "/users/ben/sessions/", ""); a.status != 204 {
		t.Errorf("an administrator ends sessions: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/organizations/acme", "", with(other)...); a.status != 401 {
		t.Errorf("after that: %d %s", a.status, a.body)
	}
	four := s.login("ben")
	if a := s.raw("POST", "/loginkeys", ""); a.status != 200 {
		t.Errorf("rotate: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/organizations/acme", "", with(four)...); a.status != 401 {
		t.Errorf("after the keys were rotated: %d %s", a.status, a.body)
	}
}

// A browser's session is a cookie that scripts do not see, and with which pages of other sites can do nothing.
func TestBrowserSession(t *testing.T) {
	for _, public := range []string{"", "https://muster.example.org"} {
		s := newSite(t, func(c *api.Config) { c.Login.PublicURL = public }).furnish()
		s.user("anna", "users", "acme")
		a := s.raw("POST", "/account/sessions/", `{"cookie": true, "expires": "1h"}`, "Authorization", basicAuth("anna", "anna-password"))
		cookies := (&http.Response{Header: a.header}).Cookies()
		if a.status != 201 || strings.Contains(a.body, `"token"`) || len(cookies) != 1 {
			t.Fatalf("log in: %d %s %v", a.status, a.body, cookies)
		}
		c := cookies[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 3600 ||
			c.Secure != (public != "") || strings.HasPrefix(c.Name, "__Host-") != c.Secure {
			t.Errorf("cookie %+v", c)
		}
		send := func(method, path, body string, headers ...string) int {
			return s.raw(method, path, body, append([]string{"Authorization", "", "Cookie", c.Name + "=" + c.Value}, headers...)...).status
		}
		env := "/organizations/acme/environments/Dev"
		for _, x := range []struct {
			name, method string
			headers      []string
			want         int
		}{
			{"a read", "GET", nil, 200},
			{"a write of our page", "PUT", []string{"Sec-Fetch-Site", "same-origin"}, 200},
			{"a write that does not say where it is from", "PUT", nil, 403},
			{"a write of another site", "PUT", []string{"Sec-Fetch-Site", "cross-site"}, 403},
			{"a write of another host of the site", "PUT", []string{"Sec-Fetch-Site", "same-site"}, 403},
			{"a write of another origin", "PUT", []string{"Origin", "https://evil.example"}, 403},
		} {
			if got := send(x.method, env, `{"description": "d"}`, x.headers...); got != x.want {
				t.Errorf("%s: %d, want %d", x.name, got, x.want)
			}
		}
		if got := send("DELETE", "/account/sessions/current", "", "Sec-Fetch-Site", "same-origin"); got != 204 {
			t.Errorf("log out: %d", got)
		}
		if got := send("GET", env, ""); got != 401 {
			t.Errorf("after logging out: %d", got)
		}
	}
}

// Another password holds at once on every node, although both remember the old one.
func TestPasswordIsForgottenOnEveryNode(t *testing.T) {
	s := newSite(t).furnish()
	second := s.another()
	s.user("anna", "users", "acme")
	get := func(url, password string) int {
		old := s.url
		defer func() { s.url = old }()
		s.url = url
		return s.raw("GET", "/organizations/acme", "", "Authorization", basicAuth("anna", password)).status
	}
	for _, url := range []string{s.url, second, s.url, second} {
		if got := get(url, "anna-password"); got != 200 {
			t.Fatalf("%d", got)
		}
	}
	s.call(s.admin, client.Op{Name: "users.password", Params: map[string]string{"name": "anna"}, Body: map[string]string{"password": "another one"}}, nil)
	for _, url := range []string{s.url, second} {
		if old, now := get(url, "anna-password"), get(url, "another one"); old != 401 || now != 200 {
			t.Errorf("the old password answers %d, the new one %d", old, now)
		}
	}
}

func TestInvitationsByRole(t *testing.T) {
	s := newSite(t).furnish()
	s.user("boss", "admin", "acme")
	s.user("uwe", "users", "acme")
	s.user("edna", "admin", "acme/Dev")
	as := func(user, method, path, body string) answer {
		return s.raw(method, path, body, "Authorization", basicAuth(user, user+"-password"))
	}
	if a := as("edna", "PUT", "/organizations/acme/environments/Dev/groups/users", `{"users": [{"username": "newt"}]}`); a.status != 200 || !strings.Contains(a.body, `"invited":true`) {
		t.Fatalf("invite: %d %s", a.status, a.body)
	}
	var l struct{ Items []model.Invitation }
	a := as("boss", "GET", "/organizations/acme/invitations/", "")
	if err := json.Unmarshal([]byte(a.body), &l); err != nil || len(l.Items) != 1 || l.Items[0].Username != "newt" || l.Items[0].By != "edna" {
		t.Fatalf("list: %d %s", a.status, a.body)
	}
	confirm := "/organizations/acme/invitations/" + l.Items[0].UUID + "/_confirm"
	if a := as("boss", "PUT", confirm, ""); a.status != 409 {
		t.Errorf("before there is such a user: %d %s", a.status, a.body)
	}
	s.user("newt", "", "")
	if a := as("newt", "GET", "/organizations/acme/environments/Dev", ""); a.status != 404 {
		t.Errorf("an invitation that is not confirmed grants %d %s", a.status, a.body)
	}
	for user, want := range map[string]int{"newt": 404, "uwe": 403, "edna": 403} {
		if a := as(user, "PUT", confirm, ""); a.status != want {
			t.Errorf("%s confirms: %d %s", user, a.status, a.body)
		}
	}
	if a := as("boss", "PUT", confirm, ""); a.status != 200 {
		t.Errorf("the administrator confirms: %d %s", a.status, a.body)
	}
	if a := as("newt", "GET", "/organizations/acme/environments/Dev", ""); a.status != 200 {
		t.Errorf("after that: %d %s", a.status, a.body)
	}
}

// Architects change applications, and nothing that belongs to hosts.
func TestArchitects(t *testing.T) {
	s := newSite(t).furnish()
	archie := s.user("archie", "architects", "acme")
	env := map[string]string{"org": "acme", "env": "Dev"}
	app := map[string]string{"org": "acme", "app": "web"}
	for _, c := range []struct {
		op   client.Op
		want model.Code
	}{
		{client.Op{Name: "applications.update", Params: app, Body: map[string]any{"description": "d"}}, ""},
		{client.Op{Name: "applications.create", Params: map[string]string{"org": "acme"}, Body: map[string]any{"name": "more"}}, ""},
		{client.Op{Name: "hosts.show", Params: host()}, ""},
		{client.Op{Name: "hosts.update", Params: host(), Body: map[string]any{"description": "d"}}, model.Forbidden},
		{client.Op{Name: "host.applications.create", Params: host(), Body: map[string]any{"application": "web"}}, model.Forbidden},
		{client.Op{Name: "environments.update", Params: env, Body: map[string]any{"description": "d"}}, model.Forbidden},
		{client.Op{Name: "environments.create", Params: map[string]string{"org": "acme"}, Body: map[string]any{"name": "x"}}, model.Forbidden},
		{client.Op{Name: "settings.create", Level: "environment", Params: env, Body: map[string]any{"key": "k", "value": 1}}, model.Forbidden},
		{client.Op{Name: "groups.update", Params: map[string]string{"org": "acme", "group": "users"}, Body: map[string]any{"users": []any{}}}, model.Forbidden},
		{client.Op{Name: "invitations.list", Params: map[string]string{"org": "acme"}}, model.Forbidden},
	} {
		if err := archie.Call(t.Context(), c.op, nil); model.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want code %q", c.op.Name, err, c.want)
		}
	}
}

// The last use of a key is seen by its organization, and is not written at every use.
func TestLastUseOfAKey(t *testing.T) {
	s := newSite(t).furnish()
	var key model.ApplicationKey
	s.call(s.admin, client.Op{Name: "applicationkeys.create", Params: map[string]string{"org": "acme"},
		Body: map[string]any{"name": "ci", "method": "TOKEN", "group": "readonly"}}, &key)
	s.used("acme", "ci", key.Token)
	before := s.db.Local().Index()
	for range 20 {
		s.raw("GET", "/organizations/acme", "", "Authorization", "", "X-ComodIT-AppKey", key.Token)
	}
	if now := s.db.Local().Index(); now != before {
		t.Errorf("20 uses moved the state from %d to %d", before, now)
	}
}
