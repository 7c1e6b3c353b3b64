package api_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
)

// post is a mail server that keeps what it gets.
type post struct {
	mu      sync.Mutex
	letters []string
	broken  bool
}

func (p *post) Send(_ context.Context, to, subject, text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return errors.New("no post today")
	}
	p.letters = append(p.letters, to+"\n"+subject+"\n"+text)
	return nil
}

func (p *post) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.letters) == 0 {
		return ""
	}
	return p.letters[len(p.letters)-1]
}

const anna = `{"username": "anna", "password": "anna-password", "fullname": "Anna", "email": "anna@example.org", "admin": true}`

func TestRegistrationByMail(t *testing.T) {
	p := &post{}
	s := newSite(t, func(c *api.Config) { c.Login.Register, c.Login.Mail = true, p })
	nobody := func(method, path, body string) answer { return s.raw(method, path, body, "Authorization", "") }
	first := nobody("POST", "/account/_register", anna)
	if first.status != 200 {
		t.Fatalf("register: %d %s", first.status, first.body)
	}
	token := regexp.MustCompile(`this token:\s+(\S+)`).FindStringSubmatch(p.last())
	if token == nil || !strings.HasPrefix(p.last(), "anna@example.org\n") || strings.Contains(first.body, token[1]) || strings.Contains(s.log.String(), token[1]) {
		t.Fatalf("letter %q, answer %s", p.last(), first.body)
	}
	if a := s.raw("GET", "/account", "", "Authorization", basicAuth("anna", "anna-password")); a.status != 401 {
		t.Errorf("an account that is not confirmed: %d %s", a.status, a.body)
	}
	if a := nobody("POST", "/account/_confirm", `{"token": "x"}`); a.status != 404 {
		t.Errorf("another token: %d %s", a.status, a.body)
	}
	if a := nobody("POST", "/account/_confirm", `{"token": "`+token[1]+`"}`); a.status != 200 {
		t.Errorf("confirm: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/account", "", "Authorization", basicAuth("anna", "anna-password")); a.status != 200 || strings.Contains(a.body, `"admin":true`) {
		t.Errorf("the account: %d %s", a.status, a.body)
	}
	// A name that is taken is told to the address, not to who asks.
	again := nobody("POST", "/account/_register", anna)
	if again.status != first.status || again.body != first.body || !strings.Contains(p.last(), "taken already") || strings.Contains(p.last(), "this token") {
		t.Errorf("a name that is taken: %d %s, letter %q", again.status, again.body, p.last())
	}
	for body, want := range map[string]string{
		`{"username": "b", "password": "short", "email": "b@example.org"}`:                       "at least 8",
		`{"username": "b", "password": "long enough", "email": "nowhere"}`:                       "like anna@example.org",
		`{"username": "b:c", "password": "long enough", "email": "b@example.org"}`:               "colon",
		`{"username": "b", "password": "long enough", "email": "b@example.org\r\nBcc: c@d.org"}`: "like anna@example.org",
	} {
		if a := nobody("POST", "/account/_register", body); a.status != 400 || !strings.Contains(a.errors(t), want) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	p.mu.Lock()
	p.broken = true
	p.mu.Unlock()
	if a := nobody("POST", "/account/_register", strings.ReplaceAll(anna, "anna", "ben")); a.status != 503 || strings.Contains(a.body, "no post") {
		t.Errorf("without a mail server that answers: %d %s", a.status, a.body)
	}
}

func TestRegistrationByLog(t *testing.T) {
	s := newSite(t, func(c *api.Config) { c.Login.Register = true })
	if a := s.raw("POST", "/account/_register", anna, "Authorization", ""); a.status != 200 {
		t.Fatalf("register: %d %s", a.status, a.body)
	}
	token := regexp.MustCompile(`"token":"(\w+)"`).FindStringSubmatch(s.log.String())
	if token == nil {
		t.Fatalf("the log has no token: %s", s.log.String())
	}
	if a := s.raw("POST", "/account/_confirm", `{"token": "`+token[1]+`"}`, "Authorization", ""); a.status != 200 {
		t.Errorf("confirm: %d %s", a.status, a.body)
	}
	if strings.Contains(s.log.String(), "anna-password") {
		t.Error("the log holds the password")
	}
}

func TestRegistrationIsClosedUnlessOpened(t *testing.T) {
	s := newSite(t)
	if a := s.raw("POST", "/account/_register", anna, "Authorization", ""); a.status != 403 {
		t.Errorf("register: %d %s", a.status, a.body)
	}
	if _, err := orchestrate.UserByName(s.db.Local(), "anna"); model.CodeOf(err) != model.NotFound {
		t.Errorf("user: %v", err)
	}
}
